use toml::Value;

use super::Check;
use crate::raw::{RawInstanceGroup, RawModel, RawOptimization, RawTensor};

const NO_EFFECT: &str = "has no effect yet";

impl Check<'_> {
    /// Reports fields of the schema that are nothing here: as faults where the model would answer otherwise than its
    /// author meant, as notes where it is only a matter of speed or of labels.
    pub(super) fn unsupported(&mut self, raw: &RawModel) {
        let ragged = "requests of different shapes do not share a batch: make them one shape";
        self.refuse("batch_input", set(raw.batch_input.as_ref()), ragged);
        self.refuse("batch_output", set(raw.batch_output.as_ref()), ragged);
        let libraries = "leave it out: only operators that the engine itself has can run";
        self.refuse("model_operations", set(raw.model_operations.as_ref()), libraries);
        let agents = "leave it out, and do what the agent does before the model is put into the repository";
        self.refuse("model_repository_agents", set(raw.model_repository_agents.as_ref()), agents);
        self.note("cc_model_filenames", !raw.cc_model_filenames.is_empty());
        self.note("metric_tags", !raw.metric_tags.is_empty());
        self.note("model_metrics", set(raw.model_metrics.as_ref()));
        self.note("runtime", raw.runtime.as_deref().is_some_and(|name| !name.is_empty()));
        for (index, group) in raw.instance_group.iter().enumerate() {
            self.unsupported_group(&format!("instance_group[{index}]"), group);
        }
        for (side, tensors) in [("input", &raw.input), ("output", &raw.output)] {
            for (index, tensor) in tensors.iter().enumerate() {
                self.unsupported_tensor(&format!("{side}[{index}]"), tensor);
            }
        }
        self.unsupported_optimization(&raw.optimization);
    }

    fn unsupported_group(&mut self, key: &str, group: &RawInstanceGroup) {
        let profiles = "leave it out: profiles are those of TensorRT's own plans, which cannot be loaded";
        self.refuse(&format!("{key}.profile"), set(group.profile.as_ref()), profiles);
        let passive = "leave the group out: an instance that takes no requests is none";
        self.refuse(&format!("{key}.passive"), group.passive == Some(true), passive);
        let devices = set(group.secondary_devices.as_ref());
        self.refuse(&format!("{key}.secondary_devices"), devices, "leave it out");
        self.note(&format!("{key}.host_policy"), group.host_policy.is_some());
    }

    fn unsupported_tensor(&mut self, key: &str, tensor: &RawTensor) {
        let shape = "leave it out: shape tensors are those of TensorRT's own plans, which cannot be loaded";
        self.refuse(&format!("{key}.is_shape_tensor"), tensor.is_shape_tensor == Some(true), shape);
        let ragged = "leave it out: requests of one shape share batches, others run on their own";
        self.refuse(&format!("{key}.allow_ragged_batch"), tensor.allow_ragged_batch == Some(true), ragged);
        let linear = tensor.is_non_linear_format_io == Some(true);
        self.refuse(&format!("{key}.is_non_linear_format_io"), linear, "leave it out");
    }

    fn unsupported_optimization(&mut self, raw: &RawOptimization) {
        let hints = [
            ("priority", &raw.priority),
            ("cuda", &raw.cuda),
            ("input_pinned_memory", &raw.input_pinned_memory),
            ("output_pinned_memory", &raw.output_pinned_memory),
            ("gather_kernel_buffer_threshold", &raw.gather_kernel_buffer_threshold),
            ("eager_batching", &raw.eager_batching),
        ];
        for (key, value) in hints {
            self.note(&format!("optimization.{key}"), value.is_some());
        }
    }

    fn refuse(&mut self, key: &str, set: bool, remedy: &str) {
        if set {
            self.faults.push_with_remedy(key, "is not supported", remedy);
        }
    }

    fn note(&mut self, key: &str, set: bool) {
        if set {
            self.notes.push(key, NO_EFFECT);
        }
    }
}

/// Whether a field is there and not an empty list or table.
fn set(value: Option<&Value>) -> bool {
    match value {
        None => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Table(table)) => !table.is_empty(),
        Some(_) => true,
    }
}
