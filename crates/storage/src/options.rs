use std::path::PathBuf;
use std::time::Duration;

use adulis_retry::BreakerOptions;

/// How object storage is reached, and how much of it is taken. Credentials are not here: they come from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageOptions {
    /// The folder in which mirrors are kept; `None`: `repositories` in the cache folder (`ADULIS_CACHE_DIR`, else
    /// `XDG_CACHE_HOME/adulis`, else `~/.cache/adulis`).
    pub cache_folder: Option<PathBuf>,
    /// Most bytes that are mirrored of one repository.
    pub max_bytes: u64,
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
    /// What concerns `s3://`.
    pub s3: S3Options,
    /// What concerns `gs://`.
    pub gcs: GcsOptions,
    /// What concerns `as://`.
    pub azure: AzureOptions,
}

/// What concerns `s3://`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3Options {
    /// URL of what speaks S3's protocol, for URLs that name no host; `None`: `AWS_ENDPOINT_URL`, else Amazon.
    pub endpoint: Option<String>,
    /// The buckets' region; `None`: `AWS_REGION`, else `AWS_DEFAULT_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket is part of the host's name.
    pub virtual_hosted_style: bool,
}

/// What concerns `gs://`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcsOptions {
    /// URL of what speaks the protocol; `None`: Google.
    pub endpoint: Option<String>,
}

/// What concerns `as://`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AzureOptions {
    /// URL of what speaks the protocol, account included; `None`: Azure.
    pub endpoint: Option<String>,
}

impl Default for StorageOptions {
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
            s3: S3Options::default(),
            gcs: GcsOptions::default(),
            azure: AzureOptions::default(),
        }
    }
}
