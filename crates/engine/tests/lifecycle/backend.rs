use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use adulis_backend::{
    Backend, BackendError, BatchInput, Execution, LoadRequest, Model, ModelInstance, ModelSignature,
};
use adulis_tensor::{DataType, Tensor};
use bytes::Bytes;

use crate::support::byte_signature;

/// A backend whose models do what their files say: words such as `add=3` (to every byte), `load=50` and `run=20`
/// (milliseconds that loading and each run take). A run with a byte 255 fails. Anything else is a corrupt file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counting(Arc<Counts>);

#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Models that are loaded.
    pub(crate) models: AtomicUsize,
    /// Instances that exist.
    pub(crate) instances: AtomicUsize,
    /// Loads ever begun.
    pub(crate) loads: AtomicUsize,
    /// Models whose loads are in progress, and the most there were.
    loading: Mutex<Vec<Arc<str>>>,
    /// What the files of models that are being loaded become after they were read, one after the other.
    then: Mutex<VecDeque<String>>,
    pub(crate) most_loading: AtomicUsize,
}

impl Counting {
    pub(crate) fn models(&self) -> usize {
        self.0.models.load(Ordering::SeqCst)
    }

    pub(crate) fn instances(&self) -> usize {
        self.0.instances.load(Ordering::SeqCst)
    }

    pub(crate) fn loads(&self) -> usize {
        self.0.loads.load(Ordering::SeqCst)
    }

    /// As if somebody replaced the files of models in the middle of the next loads.
    pub(crate) fn replace_in_loads(&self, texts: &[&str]) {
        self.0.then.lock().unwrap().extend(texts.iter().map(|text| (*text).to_owned()));
    }

    pub(crate) fn is_loading(&self, model: &str) -> bool {
        self.0.loading.lock().unwrap().iter().any(|loading| **loading == *model)
    }

    pub(crate) fn most_loading(&self) -> usize {
        self.0.most_loading.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Behaviour {
    add: u8,
    load: Duration,
    run: Duration,
}

impl Behaviour {
    fn read(path: &Path) -> Result<Self, BackendError> {
        let fault = |reason: &str| BackendError::Load {
            path: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            reason: reason.to_owned(),
        };
        let text = std::fs::read_to_string(path).map_err(|error| fault(&error.to_string()))?;
        let mut behaviour = Self::default();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or_else(|| fault("the file is corrupt"))?;
            let value: u8 = value.parse().map_err(|_| fault("the file is corrupt"))?;
            match name {
                "add" => behaviour.add = value,
                "load" => behaviour.load = Duration::from_millis(u64::from(value)),
                "run" => behaviour.run = Duration::from_millis(u64::from(value)),
                _ => return Err(fault("the file is corrupt")),
            }
        }
        Ok(behaviour)
    }
}

impl Backend for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let counts = &self.0;
        counts.loads.fetch_add(1, Ordering::SeqCst);
        let loading = {
            let mut loading = counts.loading.lock().unwrap();
            loading.push(Arc::clone(&request.name));
            loading.len()
        };
        counts.most_loading.fetch_max(loading, Ordering::SeqCst);
        let behaviour = Behaviour::read(&request.path);
        if let Some(text) = counts.then.lock().unwrap().pop_front() {
            std::fs::write(&request.path, text).unwrap();
        }
        if let Ok(behaviour) = &behaviour {
            thread::sleep(behaviour.load);
        }
        {
            let mut loading = counts.loading.lock().unwrap();
            let done = loading.iter().position(|model| *model == request.name).unwrap();
            loading.remove(done);
        }
        let behaviour = behaviour?;
        counts.models.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(Adder { signature: byte_signature(), behaviour, counts: Arc::clone(counts) }))
    }
}

struct Adder {
    signature: ModelSignature,
    behaviour: Behaviour,
    counts: Arc<Counts>,
}

impl Drop for Adder {
    fn drop(&mut self) {
        self.counts.models.fetch_sub(1, Ordering::SeqCst);
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
        self.counts.instances.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Instance { behaviour: self.behaviour, counts: Arc::clone(&self.counts) }))
    }
}

struct Instance {
    behaviour: Behaviour,
    counts: Arc<Counts>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.counts.instances.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ModelInstance for Instance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        thread::sleep(self.behaviour.run);
        let data: Vec<u8> = inputs[0].chunks().flatten().copied().collect();
        if data.contains(&255) {
            return Err(BackendError::Execution { reason: "asked to fail".to_owned() });
        }
        let sum: Vec<u8> = data.iter().map(|byte| byte.wrapping_add(self.behaviour.add)).collect();
        let output = Tensor::new(DataType::Uint8, inputs[0].shape.clone(), Bytes::from(sum));
        let output = output.map_err(|error| BackendError::Execution { reason: error.to_string() })?;
        let milliseconds = Duration::from_millis;
        Ok(Execution {
            outputs: vec![output],
            input: milliseconds(1),
            infer: milliseconds(10),
            output: milliseconds(2),
            ..Execution::default()
        })
    }
}
