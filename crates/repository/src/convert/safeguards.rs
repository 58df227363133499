use std::collections::BTreeMap;

use super::Check;
use crate::Safeguards;

impl Check<'_> {
    /// What the parameters say of them.
    pub(super) fn safeguards(&mut self, parameters: &BTreeMap<String, String>) -> Safeguards {
        Safeguards {
            refuse_non_finite_outputs: self.flag(parameters, "refuse_non_finite_outputs").unwrap_or_default(),
            max_queue_time: self.time(parameters, "max_queue_time"),
            max_execution_time: self.time(parameters, "max_execution_time"),
            self_check_interval: self.time(parameters, "self_check_interval"),
        }
    }
}
