use toml::Value;

use super::Check;
use crate::raw::{RawInstanceGroup, RawModel, RawOptimization, RawTensor};

const NOT_SUPPORTED: &str = "is not supported yet";
const NO_EFFECT: &str = "has no effect yet";

impl Check<'_> {
    /// Reports fields of the schema that have no effect here: as faults where the model would answer otherwise than its
    /// author meant, as notes where it is only a matter of speed or of labels.
    pub(super) fn unsupported(&mut self, raw: &RawModel) {
        self.unsupported_scheduling(raw);
        self.refuse("batch_input", set(raw.batch_input.as_ref()));
        self.refuse("batch_output", set(raw.batch_output.as_ref()));
        self.refuse("model_operations", set(raw.model_operations.as_ref()));
        self.refuse("model_repository_agents", set(raw.model_repository_agents.as_ref()));
        self.refuse("runtime", raw.runtime.as_deref().is_some_and(|name| !name.is_empty()));
        self.refuse("cc_model_filenames", set(raw.cc_model_filenames.as_ref()));
        self.note("metric_tags", set(raw.metric_tags.as_ref()));
        self.note("model_metrics", set(raw.model_metrics.as_ref()));
        let cached = raw.response_cache.as_ref().is_some_and(|cache| cache.enable);
        self.note("response_cache.enable", cached);
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

    fn unsupported_scheduling(&mut self, raw: &RawModel) {
        let ensemble = raw.ensemble_scheduling.is_some() || raw.platform.as_deref() == Some("ensemble");
        self.refuse("ensemble_scheduling", ensemble);
        self.refuse("sequence_batching", raw.sequence_batching.is_some());
        let decoupled = raw.model_transaction_policy.as_ref().is_some_and(|policy| policy.decoupled);
        self.refuse("model_transaction_policy.decoupled", decoupled);
    }

    fn unsupported_group(&mut self, key: &str, group: &RawInstanceGroup) {
        let resources = group.rate_limiter.as_ref().and_then(|limiter| limiter.resources.as_ref());
        self.refuse(&format!("{key}.profile"), set(group.profile.as_ref()));
        self.refuse(&format!("{key}.passive"), group.passive == Some(true));
        self.refuse(&format!("{key}.secondary_devices"), set(group.secondary_devices.as_ref()));
        self.refuse(&format!("{key}.rate_limiter.resources"), set(resources));
        self.note(&format!("{key}.host_policy"), group.host_policy.is_some());
    }

    fn unsupported_tensor(&mut self, key: &str, tensor: &RawTensor) {
        self.refuse(&format!("{key}.reshape"), tensor.reshape.is_some());
        self.refuse(&format!("{key}.is_shape_tensor"), tensor.is_shape_tensor == Some(true));
        self.refuse(&format!("{key}.allow_ragged_batch"), tensor.allow_ragged_batch == Some(true));
        self.refuse(&format!("{key}.is_non_linear_format_io"), tensor.is_non_linear_format_io == Some(true));
        let format = tensor.format.as_deref().is_some_and(|format| format != "FORMAT_NONE");
        self.note(&format!("{key}.format"), format);
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

    fn refuse(&mut self, key: &str, set: bool) {
        if set {
            self.faults.push(key, NOT_SUPPORTED);
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
