//! Shared memory of clients on the same machine.

use adulis_shared_memory::SharedMemoryOptions;
use serde::{Deserialize, Serialize};
use toml::Value;

use super::Config;
use super::check::Check;
use super::units::format_bytes;

/// Shared memory of clients on the same machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedMemoryConfig {
    /// Whether clients may register regions.
    pub enabled: bool,
    /// Which, and how much.
    pub limits: SharedMemoryOptions,
}

impl Config {
    /// What is told to the registry of shared memory; `None` where there is none.
    #[must_use]
    pub fn shared_memory(&self) -> Option<SharedMemoryOptions> {
        self.shared_memory.enabled.then(|| self.shared_memory.limits.clone())
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSharedMemory {
    enabled: Option<bool>,
    key_prefix: Option<String>,
    max_regions: Option<i64>,
    max_bytes: Option<Value>,
    max_request_bytes: Option<Value>,
}

impl Check<'_> {
    pub(super) fn shared_memory(
        &mut self,
        raw: &RawSharedMemory,
        default: &SharedMemoryConfig,
    ) -> SharedMemoryConfig {
        let limits = &default.limits;
        let key_prefix = raw.key_prefix.clone().unwrap_or_else(|| limits.key_prefix.clone());
        if key_prefix.trim_start_matches('/').contains('/') {
            let message = format!("{key_prefix:?} is a path, which no key begins with");
            self.faults
                .push_with_remedy("shared_memory.key_prefix", message, "for example \"adulis-\"");
        }
        let regions = self.whole("shared_memory.max_regions", raw.max_regions, 1..=1 << 20);
        let bytes = self.bytes("shared_memory.max_bytes", raw.max_bytes.as_ref());
        let request_bytes = self.bytes("shared_memory.max_request_bytes", raw.max_request_bytes.as_ref());
        SharedMemoryConfig {
            enabled: raw.enabled.unwrap_or(default.enabled),
            limits: SharedMemoryOptions {
                key_prefix,
                max_regions: regions.unwrap_or(limits.max_regions),
                max_bytes: bytes.map_or(limits.max_bytes, |bytes| bytes as u64),
                max_request_bytes: request_bytes.map_or(limits.max_request_bytes, |bytes| bytes as u64),
                bodies: limits.bodies.clone(),
            },
        }
    }
}

impl SharedMemoryConfig {
    pub(super) fn print(&self) -> RawSharedMemory {
        let bytes =
            |bytes: u64| Some(Value::String(format_bytes(usize::try_from(bytes).unwrap_or(usize::MAX))));
        RawSharedMemory {
            enabled: Some(self.enabled),
            key_prefix: Some(self.limits.key_prefix.clone()),
            max_regions: Some(i64::try_from(self.limits.max_regions).unwrap_or(i64::MAX)),
            max_bytes: bytes(self.limits.max_bytes),
            max_request_bytes: bytes(self.limits.max_request_bytes),
        }
    }
}
