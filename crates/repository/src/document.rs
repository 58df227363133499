use adulis_types::ModelConfigDocument;
use prost::Message as _;
use prost_reflect::ReflectMessage as _;

use crate::scan::{MODEL_FILE, reads_file};
use crate::{DynamicBatching, InstanceGroup, InstanceKind, ModelConfig, Scheduling, TensorConfig};
use crate::{json, pbtxt, render};

/// What loading showed of a model: what its configuration left open, and what is in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The backend that loaded it; `None` for an ensemble.
    pub backend: Option<String>,
    /// The platform that its metadata tells.
    pub platform: String,
    /// Most rows of one request; 0: the model does not batch.
    pub max_batch_size: usize,
    /// All inputs that requests have, without the batch dimension.
    pub inputs: Vec<TensorConfig>,
    /// All outputs that requests may ask for, without the batch dimension.
    pub outputs: Vec<TensorConfig>,
    /// Whether requests share batches.
    pub merges: bool,
}

impl ModelConfig {
    /// The configuration as it is in effect: everything that was derived is written out, as Triton completes it.
    #[must_use]
    pub fn completed(&self, completion: Completion) -> Self {
        let mut config = self.clone();
        config.auto_complete = false;
        config.max_batch_size = Some(completion.max_batch_size);
        config.platform = Some(completion.platform);
        if config.scheduling == Scheduling::Unconfigured && completion.merges {
            config.scheduling = Scheduling::Dynamic(DynamicBatching::default());
        }
        if let Some(backend) = &completion.backend {
            if reads_file(backend) {
                config.default_model_filename.get_or_insert_with(|| MODEL_FILE.to_owned());
            }
            complete_groups(&mut config);
        }
        config.backend = completion.backend;
        config.inputs = overlay(completion.inputs, &self.inputs);
        config.outputs = overlay(completion.outputs, &self.outputs);
        config
    }

    /// The configuration as clients get it, in both forms.
    ///
    /// The JSON form is Triton's: the schema's names, whole numbers as numbers, enumerations by name; messages that are
    /// not set are left out, of those that are there every field is told.
    #[must_use]
    pub fn document(&self) -> ModelConfigDocument {
        let mut message = render::to_message(self);
        // There is no model without one in what Triton tells, and clients read on without looking.
        if let Some(optimization) = message.descriptor().get_field_by_name("optimization") {
            message.get_field_mut(&optimization);
        }
        ModelConfigDocument { json: json::print(&message).into(), protobuf: message.encode_to_vec().into() }
    }

    /// The configuration as a `config.pbtxt` that reads back to the same.
    ///
    /// But for [`crate::GraphLevel::All`], which the format has no word for: it reads as the server's default.
    #[must_use]
    pub fn to_pbtxt(&self) -> String {
        pbtxt::print(&render::to_message(self))
    }
}

/// Groups as they run: at least one, each with a name, and none left to choose its device.
fn complete_groups(config: &mut ModelConfig) {
    if config.instance_group.is_empty() {
        config.instance_group.push(InstanceGroup::default());
    }
    for (index, group) in config.instance_group.iter_mut().enumerate() {
        group.name.get_or_insert_with(|| format!("{}_{index}", config.name));
        if group.kind == InstanceKind::Auto {
            group.kind = InstanceKind::Cpu;
            group.count *= group.gpus.len().max(1);
            group.gpus.clear();
        }
    }
}

/// The tensors that the model really has, with what only a declaration can say of them.
fn overlay(tensors: Vec<TensorConfig>, declared: &[TensorConfig]) -> Vec<TensorConfig> {
    let overlaid = tensors.into_iter().map(|mut tensor| {
        if let Some(declaration) = declared.iter().find(|declaration| declaration.name == tensor.name) {
            tensor.format = declaration.format;
            tensor.label_filename.clone_from(&declaration.label_filename);
            if declaration.reshape.is_some() {
                tensor.dims.clone_from(&declaration.dims);
                tensor.reshape.clone_from(&declaration.reshape);
            }
        }
        tensor
    });
    overlaid.collect()
}

#[cfg(test)]
mod tests;
