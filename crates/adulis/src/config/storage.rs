//! Repositories in object storage.

use std::path::PathBuf;
use std::time::Duration;

use adulis_pool::BreakerOptions;
use serde::{Deserialize, Serialize};
use toml::Value;

use super::check::Check;
use super::pools::{RawBreaker, print_breaker};
use super::units::{format_bytes, format_duration};

const MIB: usize = 1 << 20;
const MAX_DOWNLOADS: i64 = 256;
const MAX_RETRIES: i64 = 100;
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60 * 60);
const MIRROR_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60);

/// How repositories in object storage are reached, and how much of them is taken. Credentials come from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// The folder in which mirrors are kept; `None`: `repositories` in the cache folder.
    pub cache_folder: Option<PathBuf>,
    /// Most bytes that are mirrored of one repository.
    pub max_bytes: usize,
    /// Objects that are fetched at a time, of one repository.
    pub max_downloads: usize,
    /// How long storage may take to accept a connection, to begin an answer, and to send its next bytes.
    pub timeout: Duration,
    /// How long one look at a repository may take, all that is fetched included.
    pub mirror_timeout: Duration,
    /// How often a request that failed for something that passes is sent again.
    pub max_retries: usize,
    /// When a repository's storage is left alone, and for how long.
    pub breaker: BreakerOptions,
    /// Whether endpoints that are set may be plain HTTP.
    pub allow_http: bool,
    /// What `s3://` asks where the URL names no host; `None`: Amazon.
    pub s3_endpoint: Option<String>,
    /// The region of S3's buckets; `None`: what the environment says.
    pub s3_region: Option<String>,
    /// Whether S3's bucket is part of the host's name.
    pub s3_virtual_hosted_style: bool,
    /// What `gs://` asks; `None`: Google.
    pub gcs_endpoint: Option<String>,
    /// What `as://` asks; `None`: Azure.
    pub azure_endpoint: Option<String>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            cache_folder: None,
            max_bytes: 64 << 30,
            max_downloads: 8,
            timeout: Duration::from_secs(30),
            mirror_timeout: Duration::from_secs(60 * 60),
            max_retries: 5,
            breaker: BreakerOptions::default(),
            allow_http: false,
            s3_endpoint: None,
            s3_region: None,
            s3_virtual_hosted_style: false,
            gcs_endpoint: None,
            azure_endpoint: None,
        }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStorage {
    cache_folder: Option<PathBuf>,
    max_bytes: Option<Value>,
    max_downloads: Option<i64>,
    timeout: Option<String>,
    mirror_timeout: Option<String>,
    max_retries: Option<i64>,
    allow_http: Option<bool>,
    breaker: RawBreaker,
    s3: RawS3,
    gcs: RawEndpoint,
    azure: RawEndpoint,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawS3 {
    endpoint: Option<String>,
    region: Option<String>,
    virtual_hosted_style: Option<bool>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawEndpoint {
    endpoint: Option<String>,
}

impl Check<'_> {
    pub(super) fn storage(&mut self, raw: &RawStorage, default: &StorageConfig) -> StorageConfig {
        let allow_http = raw.allow_http.unwrap_or(default.allow_http);
        StorageConfig {
            cache_folder: raw.cache_folder.clone().filter(|path| !path.as_os_str().is_empty()),
            max_bytes: self
                .bytes_within("storage.max_bytes", raw.max_bytes.as_ref(), &(MIB..=usize::MAX))
                .unwrap_or(default.max_bytes),
            max_downloads: self
                .whole("storage.max_downloads", raw.max_downloads, 1..=MAX_DOWNLOADS)
                .unwrap_or(default.max_downloads),
            timeout: self
                .duration("storage.timeout", raw.timeout.as_deref(), &TIMEOUT)
                .unwrap_or(default.timeout),
            mirror_timeout: self
                .duration("storage.mirror_timeout", raw.mirror_timeout.as_deref(), &MIRROR_TIMEOUT)
                .unwrap_or(default.mirror_timeout),
            max_retries: self
                .whole("storage.max_retries", raw.max_retries, 0..=MAX_RETRIES)
                .unwrap_or(default.max_retries),
            breaker: self.breaker("storage.breaker", &raw.breaker, &default.breaker),
            allow_http,
            s3_endpoint: self.endpoint("storage.s3.endpoint", raw.s3.endpoint.as_ref(), allow_http),
            s3_region: raw.s3.region.clone().filter(|region| !region.is_empty()),
            s3_virtual_hosted_style: raw.s3.virtual_hosted_style.unwrap_or(default.s3_virtual_hosted_style),
            gcs_endpoint: self.endpoint("storage.gcs.endpoint", raw.gcs.endpoint.as_ref(), allow_http),
            azure_endpoint: self.endpoint("storage.azure.endpoint", raw.azure.endpoint.as_ref(), allow_http),
        }
    }

    /// A URL of HTTP or HTTPS; empty: none. Messages do not repeat it where it may hold a secret.
    fn endpoint(&mut self, key: &str, endpoint: Option<&String>, allow_http: bool) -> Option<String> {
        let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty())?;
        let (scheme, host) = endpoint.split_once("://").unwrap_or(("", endpoint));
        if endpoint.contains(['@', '?', '#']) {
            self.faults.push_with_remedy(
                key,
                "must not hold credentials",
                "leave them to the environment, as docs/model-repository.md says",
            );
        } else if host.is_empty() || !matches!(scheme, "http" | "https") {
            let message = format!("{endpoint:?} is no URL of HTTP");
            self.faults.push_with_remedy(key, message, "for example \"https://minio.example:9000\"");
        } else if scheme == "http" && !allow_http {
            let message = format!("{endpoint:?} is plain HTTP");
            self.faults
                .push_with_remedy(key, message, "set storage.allow_http = true, or use https://");
        } else {
            return Some(endpoint.clone());
        }
        None
    }
}

impl StorageConfig {
    pub(super) fn print(&self) -> RawStorage {
        let text = |text: &Option<String>| Some(text.clone().unwrap_or_default());
        let whole = |count: usize| Some(i64::try_from(count).unwrap_or(i64::MAX));
        RawStorage {
            cache_folder: Some(self.cache_folder.clone().unwrap_or_default()),
            max_bytes: Some(Value::String(format_bytes(self.max_bytes))),
            max_downloads: whole(self.max_downloads),
            timeout: Some(format_duration(self.timeout)),
            mirror_timeout: Some(format_duration(self.mirror_timeout)),
            max_retries: whole(self.max_retries),
            allow_http: Some(self.allow_http),
            breaker: print_breaker(&self.breaker),
            s3: RawS3 {
                endpoint: text(&self.s3_endpoint),
                region: text(&self.s3_region),
                virtual_hosted_style: Some(self.s3_virtual_hosted_style),
            },
            gcs: RawEndpoint { endpoint: text(&self.gcs_endpoint) },
            azure: RawEndpoint { endpoint: text(&self.azure_endpoint) },
        }
    }

    /// What is told to whoever opens repositories in object storage.
    #[cfg(feature = "object-storage")]
    #[must_use]
    pub fn options(&self) -> adulis_storage::StorageOptions {
        use adulis_storage::{AzureOptions, GcsOptions, S3Options, StorageOptions};

        StorageOptions {
            cache_folder: self.cache_folder.clone(),
            max_bytes: self.max_bytes as u64,
            max_downloads: self.max_downloads,
            timeout: self.timeout,
            mirror_timeout: self.mirror_timeout,
            max_retries: self.max_retries,
            breaker: self.breaker.clone(),
            allow_http: self.allow_http,
            s3: S3Options {
                endpoint: self.s3_endpoint.clone(),
                region: self.s3_region.clone(),
                virtual_hosted_style: self.s3_virtual_hosted_style,
            },
            gcs: GcsOptions { endpoint: self.gcs_endpoint.clone() },
            azure: AzureOptions { endpoint: self.azure_endpoint.clone() },
        }
    }
}

#[cfg(all(test, feature = "object-storage"))]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_crate() {
        assert_eq!(StorageConfig::default().options(), adulis_storage::StorageOptions::default());
    }
}
