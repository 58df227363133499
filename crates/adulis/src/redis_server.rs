//! A Redis that the server talks to: where it is, and how it is reached.

use std::path::{Path, PathBuf};

use adulis_pool::{PoolError, PoolOptions, RedisPool, RedisTls, RedisUrl};
use adulis_telemetry::PoolMetrics;

/// A Redis that the server talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisServer {
    /// Where it is.
    pub url: RedisUrl,
    /// Whom we trust, in PEM; `None`: the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key, in PEM, where the server asks for them.
    pub client_files: Option<(PathBuf, PathBuf)>,
    /// What every key begins with.
    pub key_prefix: String,
    /// Size and patience.
    pub pool: PoolOptions,
}

impl RedisServer {
    /// A pool of this name, which connects in the background.
    pub(crate) fn open(&self, name: &str, metrics: &PoolMetrics) -> Result<RedisPool, PoolError> {
        RedisPool::open(name, (self.url.clone(), self.tls()?), &self.pool, metrics)
    }

    fn tls(&self) -> Result<RedisTls, PoolError> {
        let client = self.client_files.as_ref();
        let client = client.map(|(certificate, key)| Ok((read(certificate)?, read(key)?))).transpose()?;
        let roots = self.ca_file.as_deref().map(read).transpose()?;
        Ok(RedisTls { roots, client })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PoolError> {
    let fault = |error| PoolError::Setting(format!("{}: cannot be read: {error}", path.display()));
    std::fs::read(path).map_err(fault)
}
