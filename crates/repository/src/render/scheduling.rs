use super::{microseconds, signed};
use crate::raw::{RawDynamicBatching, RawEnsemble, RawQueuePolicy, RawStep};
use crate::{DynamicBatching, Ensemble, EnsembleStep, QueuePolicy, TimeoutAction};

/// `dynamic_batching`.
pub(super) fn dynamic(batching: &DynamicBatching) -> RawDynamicBatching {
    let policies = batching.priority_queue_policy.iter();
    RawDynamicBatching {
        preferred_batch_size: batching.preferred_batch_size.iter().copied().map(signed).collect(),
        max_queue_delay_microseconds: Some(microseconds(batching.max_queue_delay)),
        preserve_ordering: batching.preserve_ordering,
        priority_levels: Some(i64::from(batching.priority_levels)),
        default_priority_level: Some(i64::from(batching.default_priority_level)),
        default_queue_policy: batching.default_queue_policy.as_ref().map(queue_policy),
        priority_queue_policy: policies
            .map(|(level, policy)| (level.to_string(), queue_policy(policy)))
            .collect(),
        max_queue_delay: None,
    }
}

fn queue_policy(policy: &QueuePolicy) -> RawQueuePolicy {
    let action = match policy.timeout_action {
        TimeoutAction::Reject => "REJECT",
        TimeoutAction::Delay => "DELAY",
    };
    RawQueuePolicy {
        timeout_action: Some(action.to_owned()),
        default_timeout_microseconds: policy.default_timeout.map(microseconds),
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: Some(signed(policy.max_queue_size)),
        default_timeout: None,
    }
}

/// `ensemble_scheduling`.
pub(super) fn ensemble(ensemble: &Ensemble) -> RawEnsemble {
    RawEnsemble {
        max_inflight_requests: Some(signed(ensemble.max_inflight_requests)),
        step: ensemble.steps.iter().map(step).collect(),
    }
}

fn step(step: &EnsembleStep) -> RawStep {
    let version = step.model_version.and_then(|version| i64::try_from(version).ok());
    RawStep {
        model_name: Some(step.model_name.clone()),
        model_version: Some(version.unwrap_or(-1)),
        model_namespace: step.model_namespace.clone(),
        input_map: step.input_map.clone(),
        output_map: step.output_map.clone(),
    }
}
