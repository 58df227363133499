use std::sync::Arc;

use adulis_backend::{
    Backend, BackendError, BatchInput, Batching, Execution, LoadRequest, Model, ModelInstance,
    ModelSignature, TensorSpec,
};
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};

/// A backend whose model keeps nothing: `STATE` comes in with all values of the sequence so far, `NEXT` goes out with one more,
/// `OUTPUT` is their sum. A value of 13 fails the run, 14 panics.
#[derive(Debug)]
pub(crate) struct Scripted;

impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn load(&self, _: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let spec = |name: &str, dimension| TensorSpec {
            name: name.into(),
            datatype: DataType::Int32,
            shape: ShapePattern::new(&[-1, dimension]),
            optional: false,
        };
        Ok(Arc::new(Growing(ModelSignature {
            inputs: vec![spec("STATE", -1), spec("INPUT", 1)],
            outputs: vec![spec("NEXT", -1), spec("OUTPUT", 1)],
            batching: Batching::Possible,
        })))
    }
}

struct Growing(ModelSignature);

impl Model for Growing {
    fn signature(&self) -> &ModelSignature {
        &self.0
    }

    fn placement(&self) -> String {
        "here".to_owned()
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(Instance))
    }
}

struct Instance;

impl ModelInstance for Instance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let [state, input] = inputs else {
            panic!("{} inputs", inputs.len());
        };
        assert_eq!((&*state.name, &*input.name), ("STATE", "INPUT"), "in the signature's order");
        let (rows, width) = (state.shape[0], state.shape[1]);
        let (states, values) = (integers(state), integers(input));
        if values.contains(&13) {
            return Err(BackendError::Execution { reason: "thirteen".to_owned() });
        }
        assert!(!values.contains(&14), "fourteen");
        let (mut next, mut sums) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let mut all = states[row * width..(row + 1) * width].to_vec();
            all.push(values[row]);
            sums.push(all.iter().sum());
            next.extend(all);
        }
        let outputs = vec![tensor(&[rows, width + 1], &next), tensor(&[rows, 1], &sums)];
        Ok(Execution { outputs, ..Execution::default() })
    }
}

fn integers(input: &BatchInput) -> Vec<i32> {
    let bytes: Vec<u8> = input.chunks().flatten().copied().collect();
    assert_eq!(Some(bytes.len()), input.shape.elements().map(|elements| elements * 4), "{}", input.name);
    bytes
        .chunks_exact(4)
        .map(|four| i32::from_le_bytes(*four.first_chunk().unwrap()))
        .collect()
}

fn tensor(shape: &[usize], values: &[i32]) -> Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::new(DataType::Int32, Shape::new(shape), data.into()).unwrap()
}
