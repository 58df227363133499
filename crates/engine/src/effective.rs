use adulis_backend::TensorSpec;
use adulis_repository::{Completion, ModelConfig, TensorConfig};

use crate::serving::ServingModel;

/// The configuration of a model as it is in effect: what was left open is as loading found it, and whether an ensemble is
/// `decoupled` as its steps are.
pub(crate) fn config(serving: &ServingModel, decoupled: bool) -> ModelConfig {
    let served = &serving.served;
    let interface = &served.interface;
    let batches = interface.max_rows.is_some();
    let completed = served.config.completed(Completion {
        backend: served.backend.map(str::to_owned),
        platform: served.platform.to_string(),
        max_batch_size: interface.max_rows.unwrap_or(0),
        inputs: tensors(&interface.inputs, batches),
        outputs: tensors(&interface.outputs, batches),
        merges: serving.merges(),
    });
    ModelConfig { decoupled, response_cache: serving.cached().is_some(), ..completed }
}

fn tensors(specs: &[TensorSpec], batches: bool) -> Vec<TensorConfig> {
    let tensor = |spec: &TensorSpec| {
        let dims: Vec<i64> = spec.shape.iter().copied().skip(usize::from(batches)).collect();
        TensorConfig { optional: spec.optional, ..TensorConfig::new(&*spec.name, spec.datatype, dims) }
    };
    specs.iter().map(tensor).collect()
}
