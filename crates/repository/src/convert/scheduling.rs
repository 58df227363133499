use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::{Table, Value};

use super::{Check, MAX_BATCH_SIZE};
use crate::raw::{RawDynamicBatching, RawInstanceGroup, RawQueuePolicy};
use crate::strict::near_miss;
use crate::{DynamicBatching, InstanceGroup, InstanceKind, QueuePolicy, TimeoutAction, VersionPolicy};

/// Most instances of one group; each has its own buffers.
const MAX_INSTANCES: i64 = 1024;
/// Most priority levels; each has its own queue.
const MAX_PRIORITY_LEVELS: i64 = 1024;
/// Largest GPU number.
const MAX_GPU: i64 = 4095;

const POLICY_FORMS: &str = "expected \"all\", { latest = N } or { specific = [N, …] }";

impl Check<'_> {
    pub(super) fn version_policy(&mut self, raw: Option<&Value>) -> VersionPolicy {
        let key = "version_policy";
        match raw {
            None => VersionPolicy::default(),
            Some(Value::String(word)) if word == "all" => VersionPolicy::All,
            Some(Value::String(word)) if word == "latest" => VersionPolicy::default(),
            Some(Value::Table(table)) if table.is_empty() => VersionPolicy::default(),
            Some(Value::Table(table)) if table.len() == 1 => self.version_policy_table(table),
            Some(_) => {
                self.faults.push(key, POLICY_FORMS);
                VersionPolicy::default()
            }
        }
    }

    fn version_policy_table(&mut self, table: &Table) -> VersionPolicy {
        let inner = |value: &Value, field: &str| match value {
            Value::Table(table) if table.len() == 1 => table.get(field).cloned(),
            Value::Table(_) => None,
            other => Some(other.clone()),
        };
        if table.contains_key("all") {
            return VersionPolicy::All;
        }
        if let Some(latest) = table.get("latest") {
            return match inner(latest, "num_versions") {
                Some(Value::Integer(count)) => self
                    .whole("version_policy.latest", count, 1..=i64::from(u32::MAX))
                    .map_or_else(VersionPolicy::default, VersionPolicy::Latest),
                // `latest {}` in the text format: Triton serves one.
                None => VersionPolicy::default(),
                Some(_) => {
                    self.faults.push("version_policy.latest", "expected a whole number");
                    VersionPolicy::default()
                }
            };
        }
        match table.get("specific").map(|specific| inner(specific, "versions")) {
            Some(Some(Value::Array(versions))) if !versions.is_empty() => self.specific_versions(&versions),
            Some(_) => {
                self.faults.push("version_policy.specific", "names no version");
                VersionPolicy::default()
            }
            None => {
                self.faults.push("version_policy", POLICY_FORMS);
                VersionPolicy::default()
            }
        }
    }

    fn specific_versions(&mut self, versions: &[Value]) -> VersionPolicy {
        let mut set = BTreeSet::new();
        for (index, version) in versions.iter().enumerate() {
            let key = format!("version_policy.specific[{index}]");
            match version.as_integer() {
                Some(version) => set.extend(self.whole::<u64>(key, version, 1..=i64::MAX)),
                None => self.faults.push(key, "expected a whole number"),
            }
        }
        VersionPolicy::Specific(set.into_iter().collect())
    }

    pub(super) fn instance_groups(&mut self, raw: &[RawInstanceGroup]) -> Vec<InstanceGroup> {
        let groups = raw.iter().enumerate();
        groups
            .map(|(index, group)| self.instance_group(&format!("instance_group[{index}]"), group))
            .collect()
    }

    fn instance_group(&mut self, key: &str, raw: &RawInstanceGroup) -> InstanceGroup {
        let kind = match raw.kind.as_deref() {
            None | Some("KIND_AUTO" | "KIND_MODEL" | "auto" | "model") => InstanceKind::Auto,
            Some("KIND_CPU" | "cpu") => InstanceKind::Cpu,
            Some("KIND_GPU" | "gpu") => InstanceKind::Gpu,
            Some(other) => {
                let known = ["KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL"];
                let message = format!("unknown kind {other:?}: expected one of {}", known.join(", "));
                self.faults.push_with_hint(format!("{key}.kind"), message, near_miss(other, known));
                InstanceKind::Auto
            }
        };
        let mut gpus = Vec::with_capacity(raw.gpus.len());
        for (index, gpu) in raw.gpus.iter().enumerate() {
            let key = format!("{key}.gpus[{index}]");
            let Some(gpu) = self.whole(key.clone(), *gpu, 0..=MAX_GPU) else {
                continue;
            };
            if gpus.contains(&gpu) {
                self.faults.push(key, format!("{gpu} is there twice"));
            } else {
                gpus.push(gpu);
            }
        }
        if kind == InstanceKind::Cpu && !raw.gpus.is_empty() {
            self.faults.push_with_remedy(
                format!("{key}.gpus"),
                "instances of kind KIND_CPU have no GPU",
                "leave gpus out, or set kind to KIND_GPU",
            );
        }
        let count = raw.count.and_then(|count| self.whole(format!("{key}.count"), count, 1..=MAX_INSTANCES));
        InstanceGroup { count: count.unwrap_or(1), kind, gpus }
    }

    /// The model's priority: the best of its groups', 1 where none is given.
    pub(super) fn priority(&mut self, groups: &[RawInstanceGroup]) -> u32 {
        let mut best: Option<u32> = None;
        for (index, group) in groups.iter().enumerate() {
            let given = group.rate_limiter.as_ref().and_then(|limiter| limiter.priority);
            let key = format!("instance_group[{index}].rate_limiter.priority");
            let given = given.and_then(|priority| self.whole::<u32>(key, priority, 0..=i64::from(u32::MAX)));
            let given = given.map(|priority| priority.max(1));
            best = best.into_iter().chain(given).min();
        }
        best.unwrap_or(1)
    }

    /// Dynamic batching, or `None` for a model that does not batch.
    pub(super) fn dynamic_batching(
        &mut self,
        raw: &RawDynamicBatching,
        max_batch_size: Option<usize>,
    ) -> Option<DynamicBatching> {
        let preferred_batch_size = self.preferred_sizes(&raw.preferred_batch_size, max_batch_size);
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

    fn preferred_sizes(&mut self, raw: &[i64], max_batch_size: Option<usize>) -> Vec<usize> {
        let most = max_batch_size.and_then(|size| i64::try_from(size).ok());
        let mut sizes = BTreeSet::new();
        for (index, size) in raw.iter().enumerate() {
            let key = format!("dynamic_batching.preferred_batch_size[{index}]");
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
    fn duration(&mut self, key: &str, text: Option<&str>, microseconds: Option<i64>) -> Option<Duration> {
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
