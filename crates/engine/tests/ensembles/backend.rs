use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use adulis_backend::{
    Backend, BackendError, BatchInput, Execution, LoadRequest, Model, ModelInstance, ModelSignature,
};
use adulis_tensor::{DataType, Tensor};
use bytes::Bytes;

/// A backend whose models add: each output is the sum of the inputs and of the parameter `add`, byte by byte, in the shape of
/// the first input. `run` is how many milliseconds that takes, `nap` how many for each unit of the first byte beside that; a run
/// with a byte 255 fails.
#[derive(Debug, Clone, Default)]
pub(crate) struct Adding(Arc<Mutex<HashMap<Arc<str>, Runs>>>);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Runs {
    pub(crate) begun: usize,
    pub(crate) running: usize,
    pub(crate) most_at_once: usize,
}

impl Adding {
    pub(crate) fn runs(&self, model: &str) -> Runs {
        self.0.lock().unwrap().get(model).copied().unwrap_or_default()
    }
}

impl Backend for Adding {
    fn name(&self) -> &'static str {
        "adding"
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let number = |name: &str| {
            let text = request.options.parameters.get(name);
            text.map_or(0, |text| text.parse().unwrap())
        };
        Ok(Arc::new(Adder {
            name: Arc::clone(&request.name),
            signature: request.declared.clone().unwrap(),
            add: number("add"),
            run: Duration::from_millis(u64::from(number("run"))),
            nap: Duration::from_millis(u64::from(number("nap"))),
            runs: self.clone(),
        }))
    }
}

#[derive(Clone)]
struct Adder {
    name: Arc<str>,
    signature: ModelSignature,
    add: u8,
    run: Duration,
    nap: Duration,
    runs: Adding,
}

impl Adder {
    fn count(&self, change: impl FnOnce(&mut Runs)) {
        change(self.runs.0.lock().unwrap().entry(Arc::clone(&self.name)).or_default());
    }
}

impl Model for Adder {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "here".to_owned()
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(self.clone()))
    }
}

impl ModelInstance for Adder {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        self.count(|runs| {
            runs.begun += 1;
            runs.running += 1;
            runs.most_at_once = runs.most_at_once.max(runs.running);
        });
        let first = inputs.first().and_then(|input| input.chunks().flatten().next().copied());
        thread::sleep(self.run + self.nap * u32::from(first.unwrap_or(0)));
        self.count(|runs| runs.running -= 1);
        let data: Vec<Vec<u8>> =
            inputs.iter().map(|input| input.chunks().flatten().copied().collect()).collect();
        if data.iter().flatten().any(|byte| *byte == 255) {
            return Err(BackendError::Execution { reason: "asked to fail".to_owned() });
        }
        let byte = |index: usize| data.iter().filter_map(|input| input.get(index)).sum::<u8>() + self.add;
        let first = data.first().map_or(0, Vec::len);
        let sum = Bytes::from((0..first).map(byte).collect::<Vec<u8>>());
        let output = |_| Tensor::new(DataType::Uint8, inputs[0].shape.clone(), sum.clone()).unwrap();
        let milliseconds = Duration::from_millis;
        Ok(Execution {
            outputs: self.signature.outputs.iter().map(output).collect(),
            input: milliseconds(1),
            infer: milliseconds(10),
            output: milliseconds(2),
            ..Execution::default()
        })
    }
}
