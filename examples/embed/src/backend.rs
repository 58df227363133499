use std::sync::Arc;
use std::time::Instant;

use adulis::backend::{
    Backend, BackendError, BatchInput, Batching, Execution, LoadRequest, Model, ModelInstance,
    ModelSignature, TensorSpec,
};
use adulis::tensor::{DataType, ShapePattern, Tensor};

/// A backend of the application's own: gives the bytes of each row back in reverse order.
pub struct Reverse;

impl Backend for Reverse {
    fn name(&self) -> &'static str {
        "reverse"
    }

    fn load(&self, _: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        Ok(Arc::new(ReverseModel { signature: signature() }))
    }
}

fn signature() -> ModelSignature {
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        datatype: DataType::Uint8,
        shape: ShapePattern::new(&[-1, -1]),
        optional: false,
    };
    ModelSignature {
        inputs: vec![spec("IN")],
        outputs: vec![spec("OUT")],
        batching: Batching::Possible,
    }
}

struct ReverseModel {
    signature: ModelSignature,
}

impl Model for ReverseModel {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "this application".to_owned()
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(ReverseInstance))
    }
}

struct ReverseInstance;

impl ModelInstance for ReverseInstance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let started = Instant::now();
        let failed = |reason: String| BackendError::Execution { reason };
        let input = inputs.first().ok_or_else(|| failed("no input".to_owned()))?;
        let width = input.shape.row_dimensions().first().copied().unwrap_or(0).max(1);
        let rows: Vec<u8> = input.chunks().flatten().copied().collect();
        let reversed: Vec<u8> = rows.chunks(width).flat_map(|row| row.iter().rev().copied()).collect();
        let output = Tensor::new(input.datatype, input.shape.clone(), reversed.into())
            .map_err(|error| failed(error.to_string()))?;
        Ok(Execution { outputs: vec![output], infer: started.elapsed(), ..Execution::default() })
    }
}
