use super::Check;
use crate::raw::{RawInstanceGroup, RawRateLimiter, RawResource};
use crate::strict::near_miss;
use crate::{InstanceGroup, InstanceKind, RateLimiter, Resource};

/// Most instances of one group; each has its own buffers.
const MAX_INSTANCES: i64 = 1024;
/// Largest GPU number.
const MAX_GPU: i64 = 4095;

impl Check<'_> {
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
        let gpus = self.gpus(key, &raw.gpus);
        if kind == InstanceKind::Cpu && !raw.gpus.is_empty() {
            self.faults.push_with_remedy(
                format!("{key}.gpus"),
                "instances of kind KIND_CPU have no GPU",
                "leave gpus out, or set kind to KIND_GPU",
            );
        }
        let count = raw.count.and_then(|count| self.whole(format!("{key}.count"), count, 1..=MAX_INSTANCES));
        let limiter = raw.rate_limiter.as_ref();
        InstanceGroup {
            name: raw.name.clone().filter(|name| !name.is_empty()),
            count: count.unwrap_or(1),
            kind,
            gpus,
            rate_limiter: limiter.map(|raw| self.rate_limiter(&format!("{key}.rate_limiter"), raw)),
            host_policy: raw.host_policy.clone().filter(|name| !name.is_empty()),
        }
    }

    fn gpus(&mut self, key: &str, raw: &[i64]) -> Vec<u32> {
        let mut gpus = Vec::with_capacity(raw.len());
        for (index, gpu) in raw.iter().enumerate() {
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
        gpus
    }

    fn rate_limiter(&mut self, key: &str, raw: &RawRateLimiter) -> RateLimiter {
        let priority = raw.priority.unwrap_or(0);
        let priority = self.whole::<u32>(format!("{key}.priority"), priority, 0..=i64::from(u32::MAX));
        let resources = raw.resources.iter().enumerate();
        let resources =
            resources.map(|(index, resource)| self.resource(&format!("{key}.resources[{index}]"), resource));
        RateLimiter { resources: resources.collect(), priority: priority.unwrap_or(1).max(1) }
    }

    fn resource(&mut self, key: &str, raw: &RawResource) -> Resource {
        let count = self.whole(format!("{key}.count"), raw.count, 0..=i64::from(u32::MAX));
        Resource {
            name: self.required(&format!("{key}.name"), raw.name.as_deref()),
            global: raw.global,
            count: count.unwrap_or(0),
        }
    }
}
