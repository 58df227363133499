use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Check, MAX_BATCH_SIZE};
use crate::raw::{RawDynamicBatching, RawModel, RawQueuePolicy};
use crate::{DynamicBatching, QueuePolicy, Scheduling, TimeoutAction};

/// Most priority levels; each has its own queue.
const MAX_PRIORITY_LEVELS: i64 = 1024;

impl Check<'_> {
    /// The one choice of scheduling.
    pub(super) fn scheduling(&mut self, raw: &RawModel, max_batch_size: Option<usize>) -> Scheduling {
        let choices = [
            ("dynamic_batching", raw.dynamic_batching.is_some()),
            ("sequence_batching", raw.sequence_batching.is_some()),
            ("ensemble_scheduling", raw.ensemble_scheduling.is_some()),
        ];
        let mut chosen = choices.into_iter().filter(|(_, set)| *set).map(|(key, _)| key);
        if let (Some(first), Some(second)) = (chosen.next(), chosen.next()) {
            let message = format!("does not go together with {first}");
            self.faults.push_with_remedy(second, message, "leave one of them out");
        }
        if let Some(batching) = &raw.dynamic_batching {
            let batching = self.dynamic_batching(batching, max_batch_size);
            return batching.map_or_else(Scheduling::default, Scheduling::Dynamic);
        }
        if let Some(batching) = &raw.sequence_batching {
            return Scheduling::Sequence(self.sequence_batching(batching, max_batch_size));
        }
        if let Some(ensemble) = &raw.ensemble_scheduling {
            return Scheduling::Ensemble(self.ensemble(raw, ensemble));
        }
        if raw.platform.as_deref() == Some("ensemble") {
            self.faults.push("ensemble_scheduling", "is missing: the platform is \"ensemble\"");
        }
        Scheduling::Unconfigured
    }

    /// Dynamic batching, or `None` for a model that does not batch.
    fn dynamic_batching(
        &mut self,
        raw: &RawDynamicBatching,
        max_batch_size: Option<usize>,
    ) -> Option<DynamicBatching> {
        let preferred_batch_size =
            self.preferred_sizes("dynamic_batching", &raw.preferred_batch_size, max_batch_size);
        let (priority_levels, default_priority_level) = self.priority_levels(raw);
        let max_queue_delay = self.duration(
            "dynamic_batching.max_queue_delay",
            raw.max_queue_delay.as_deref(),
            raw.max_queue_delay_microseconds,
        );
        let default_queue_policy = raw
            .default_queue_policy
            .as_ref()
            .map(|policy| self.queue_policy("dynamic_batching.default_queue_policy", policy));
        let priority_queue_policy = self.priority_policies(&raw.priority_queue_policy, priority_levels);
        let batching = DynamicBatching {
            preferred_batch_size,
            max_queue_delay: max_queue_delay.unwrap_or_default(),
            preserve_ordering: raw.preserve_ordering,
            priority_levels,
            default_priority_level,
            default_queue_policy,
            priority_queue_policy,
        };
        self.ordering(&batching);
        if max_batch_size == Some(0) {
            self.notes.push("dynamic_batching", "has no effect: max_batch_size is 0");
            return None;
        }
        Some(batching)
    }

    pub(super) fn preferred_sizes(
        &mut self,
        key: &str,
        raw: &[i64],
        max_batch_size: Option<usize>,
    ) -> Vec<usize> {
        let most = max_batch_size.and_then(|size| i64::try_from(size).ok());
        let mut sizes = BTreeSet::new();
        for (index, size) in raw.iter().enumerate() {
            let key = format!("{key}.preferred_batch_size[{index}]");
            if let Some(most) = most
                && *size > most
            {
                let message = format!("expected at most max_batch_size = {most}, got {size}");
                self.faults.push(key, message);
            } else {
                sizes.extend(self.whole::<usize>(key, *size, 1..=MAX_BATCH_SIZE));
            }
        }
        sizes.into_iter().collect()
    }

    fn priority_levels(&mut self, raw: &RawDynamicBatching) -> (u32, u32) {
        let levels = raw.priority_levels.unwrap_or(0);
        let default = raw.default_priority_level.unwrap_or(0);
        let key = "dynamic_batching.default_priority_level";
        let levels = self
            .whole::<u32>("dynamic_batching.priority_levels", levels, 0..=MAX_PRIORITY_LEVELS)
            .unwrap_or(0);
        if levels == 0 {
            if default != 0 {
                self.faults.push_with_remedy(key, "there are no priority levels", "set priority_levels");
            }
            return (0, 0);
        }
        let default = self.whole(key, default, 1..=i64::from(levels));
        (levels, default.unwrap_or(1))
    }

    fn priority_policies(
        &mut self,
        raw: &BTreeMap<String, RawQueuePolicy>,
        levels: u32,
    ) -> BTreeMap<u32, QueuePolicy> {
        let mut policies = BTreeMap::new();
        for (level, policy) in raw {
            let key = format!("dynamic_batching.priority_queue_policy.{level}");
            let policy = self.queue_policy(&key, policy);
            match level.parse::<u32>() {
                Ok(level) if (1..=levels).contains(&level) => drop(policies.insert(level, policy)),
                _ => {
                    let message =
                        format!("is not a priority level: expected 1 to priority_levels = {levels}");
                    self.faults.push(key, message);
                }
            }
        }
        policies
    }

    fn queue_policy(&mut self, key: &str, raw: &RawQueuePolicy) -> QueuePolicy {
        let timeout_action = match raw.timeout_action.as_deref() {
            None | Some("REJECT" | "reject") => TimeoutAction::Reject,
            Some("DELAY" | "delay") => TimeoutAction::Delay,
            Some(other) => {
                let message = format!("expected REJECT or DELAY, got {other:?}");
                self.faults.push(format!("{key}.timeout_action"), message);
                TimeoutAction::Reject
            }
        };
        let timeout = self.duration(
            &format!("{key}.default_timeout"),
            raw.default_timeout.as_deref(),
            raw.default_timeout_microseconds,
        );
        let size = raw.max_queue_size.unwrap_or(0);
        let max_queue_size = self.whole(format!("{key}.max_queue_size"), size, 0..=i64::from(u32::MAX));
        QueuePolicy {
            timeout_action,
            default_timeout: timeout.filter(|timeout| !timeout.is_zero()),
            allow_timeout_override: raw.allow_timeout_override,
            max_queue_size: max_queue_size.unwrap_or(0),
        }
    }

    /// Responses cannot keep the order of requests that overtake each other.
    fn ordering(&mut self, batching: &DynamicBatching) {
        if !batching.preserve_ordering {
            return;
        }
        let key = "dynamic_batching.preserve_ordering";
        if batching.priority_levels > 1 {
            let message = "does not go together with priority levels";
            self.faults.push_with_remedy(key, message, "leave one of them out");
        }
        let mut policies =
            batching.default_queue_policy.iter().chain(batching.priority_queue_policy.values());
        if policies
            .any(|policy| policy.timeout_action == TimeoutAction::Delay && policy.default_timeout.is_some())
        {
            let message = "does not go together with timeout_action DELAY";
            self.faults.push_with_remedy(key, message, "leave one of them out");
        }
    }

    /// A duration, written either way; `key` is the name without `_microseconds`.
    pub(super) fn duration(
        &mut self,
        key: &str,
        text: Option<&str>,
        microseconds: Option<i64>,
    ) -> Option<Duration> {
        match (text, microseconds) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                let message = "is given twice, once in microseconds";
                self.faults.push_with_remedy(key, message, "leave one of them out");
                None
            }
            (None, Some(microseconds)) => self
                .whole(format!("{key}_microseconds"), microseconds, 0..=i64::MAX)
                .map(Duration::from_micros),
            (Some(text), None) => humantime::parse_duration(text)
                .map_err(|error| {
                    let message = format!("{text:?} is not a duration: {error}");
                    self.faults.push_with_remedy(key, message, "for example \"500us\" or \"2ms\"");
                })
                .ok(),
        }
    }
}
