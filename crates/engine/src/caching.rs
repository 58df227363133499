//! Which models have a response cache, and what their keys are made of: decided when they are loaded.

mod admin;

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adulis_backend::{Backend, EngineOptions, Model, TensorSpec};
use adulis_cache::{FilesSeen, GuardedTier, ModelCache, ModelDigest, ModelPolicy, ResponseCache, Scope};
use adulis_repository::{Fingerprint, ModelConfig, ModelEntry, ModelVersion, Scheduling};
use adulis_telemetry::CacheMetrics;
use adulis_types::{CacheReport, CachedModel, SharedTierReport};

pub(crate) use admin::CacheAdmin;

use crate::admission::Interface;
use crate::lifecycle::Lifecycle;
use crate::{LoadError, Settings};

const KEY: &str = "response_cache.enable";
const INSIST: &str = "set its parameter response_cache_insist to true to cache it all the same";

/// The response cache of a server, if it is to have one.
pub(crate) fn open(settings: &Settings, metrics: &CacheMetrics) -> Option<Arc<ResponseCache>> {
    let shared = settings.shared_cache.clone();
    if settings.cache.memory_bytes == 0 && shared.is_none() {
        return None;
    }
    if let Some(tier) = &shared {
        let took = metrics.tier(tier.name());
        tier.observe(move |time| took.observe(time));
    }
    Some(ResponseCache::new(settings.cache.clone(), shared))
}

/// What the cache holds and has done, of the models that there are.
pub(crate) fn report(cache: &ResponseCache, lifecycle: Option<&Lifecycle>) -> CacheReport {
    let serving = lifecycle.map(|lifecycle| lifecycle.table.all_serving()).unwrap_or_default();
    let cached = serving.iter().filter_map(|serving| serving.served.cache.as_deref());
    CacheReport {
        capacity_bytes: cache.capacity(),
        bytes: cache.bytes(),
        entries: cache.entries(),
        shared: cache.shared().map(|tier| tier_report(tier, cache.purges_pending())),
        models: cached.map(model_report).collect(),
    }
}

fn model_report(cached: &ModelCache) -> CachedModel {
    let (scope, counts) = (cached.scope(), cached.scope().read());
    CachedModel {
        name: Arc::clone(scope.model()),
        version: scope.version(),
        entries: counts.entries,
        bytes: counts.bytes,
        hits: counts.hits,
        stale: counts.stale,
        coalesced: counts.coalesced,
        misses: counts.misses,
        bypassed: counts.bypassed,
        evictions: counts.evictions,
        rows_found: counts.rows_found,
        rows_run: counts.rows_run,
    }
}

fn tier_report(tier: &GuardedTier, purges_pending: u64) -> SharedTierReport {
    let (counts, read) = (tier.counts(), |count: &AtomicU64| count.load(Ordering::Relaxed));
    SharedTierReport {
        name: tier.name().into(),
        is_left_alone: tier.is_left_alone(),
        hits: read(&counts.hits),
        misses: read(&counts.misses),
        rejected: read(&counts.rejected),
        written: read(&counts.written),
        dropped: read(&counts.dropped),
        failures: read(&counts.failures),
        skipped: read(&counts.skipped),
        purges_pending,
    }
}

/// A model version that is to have a response cache, before its files are read by anybody.
pub(crate) struct Wanted {
    cache: Arc<ResponseCache>,
    /// Where its files are, and what they looked like.
    files: PathBuf,
    before: Fingerprint,
    /// Whether it is one file, whose data may lie anywhere beside it.
    is_bare: bool,
    /// Whether its own configuration asks for it.
    is_asked: bool,
}

/// What a model version turned out to be when it was loaded.
pub(crate) struct LoadedModel<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) version: u64,
    pub(crate) backend: &'a dyn Backend,
    pub(crate) model: &'a dyn Model,
    pub(crate) options: &'a EngineOptions,
    pub(crate) interface: &'a Interface,
}

/// Whether a model version is to have a response cache, and what its files look like now if so.
pub(crate) fn wanted(
    cache: Option<&Arc<ResponseCache>>,
    entry: &ModelEntry,
    version: &ModelVersion,
) -> Option<Wanted> {
    let config = &entry.config;
    let Some(cache) = cache else {
        if config.response_cache {
            tracing::warn!(model = %entry.name, "{KEY} takes no effect: the server's response cache is off");
        }
        return None;
    };
    let one_answer = matches!(config.scheduling, Scheduling::Unconfigured | Scheduling::Dynamic(_));
    let all = cache.settings().all_models && one_answer && !config.decoupled;
    if !(config.response_cache || all) {
        return None;
    }
    let (files, is_bare) = files_of(entry, &version.path);
    let before = Fingerprint::of(&files);
    Some(Wanted {
        cache: Arc::clone(cache),
        files,
        before,
        is_bare,
        is_asked: config.response_cache,
    })
}

/// The folder of a version, or the model's only file.
fn files_of(entry: &ModelEntry, path: &Path) -> (PathBuf, bool) {
    if path.is_dir() {
        return (path.to_owned(), false);
    }
    let parent = path
        .parent()
        .filter(|parent| entry.directory.as_deref().is_some_and(|directory| parent.starts_with(directory)));
    parent.map_or_else(|| (path.to_owned(), true), |parent| (parent.to_owned(), false))
}

impl Wanted {
    /// The cache of the model version, now that it is loaded. `None` where it cannot have one and did not ask for it itself.
    ///
    /// Blocking: its files are read.
    ///
    /// # Errors
    /// [`LoadError::Configuration`] where it asks for a cache and cannot have one, with the reason.
    pub(crate) fn make(self, loaded: &LoadedModel<'_>) -> Result<Option<Box<ModelCache>>, LoadError> {
        let LoadedModel { config, version, interface, .. } = *loaded;
        let mut digest = loaded.digest(&self.cache.settings().namespace);
        let refused = match self.read(&mut digest) {
            Err(error) => Some(format!("the model's files cannot be read for its keys: {error}")),
            Ok(FilesSeen { random: Some(operator), .. }) if !config.caching.insist => Some(format!(
                "the model has operator {operator}, so that its answers are no function of its inputs; {INSIST}"
            )),
            Ok(seen) => {
                // What may have changed since the engine read it, or has parts elsewhere, is known to this load alone.
                if (self.is_bare && seen.external) || Fingerprint::of(&self.files) != self.before {
                    digest.part("load", &unique());
                }
                None
            }
        };
        if let Some(reason) = refused {
            if self.is_asked {
                return Err(LoadError::Configuration { key: KEY.to_owned(), reason });
            }
            tracing::info!(model = %interface.model, version, %reason, "not cached");
            return Ok(None);
        }
        let scope = Scope::new(Arc::clone(&interface.model), version);
        let outputs = interface.outputs.iter().map(|spec| (spec.datatype, spec.shape.clone())).collect();
        let policy = policy(loaded, &self.cache);
        Ok(Some(Box::new(ModelCache::new(self.cache, (digest.finish(), scope), policy, outputs))))
    }

    /// Models of backends that read no files have none.
    fn read(&self, digest: &mut ModelDigest) -> io::Result<FilesSeen> {
        match digest.files(&self.files) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.files.exists() => {
                Ok(FilesSeen::default())
            }
            read => read,
        }
    }
}

impl LoadedModel<'_> {
    /// All that the answers depend on beside files and requests.
    fn digest(&self, namespace: &str) -> ModelDigest {
        let Self { config, version, backend, options, interface, .. } = self;
        let mut digest = ModelDigest::new(&interface.model, *version);
        digest.part("namespace", namespace.as_bytes());
        digest.part("server", env!("CARGO_PKG_VERSION").as_bytes());
        digest.part("backend", backend.name().as_bytes());
        let engine = format!("{:?} {:?}", options.graph_optimization, options.providers);
        digest.part("engine", engine.as_bytes());
        digest.part("configuration", config.to_pbtxt().as_bytes());
        digest.part("max_rows", format!("{:?}", interface.max_rows).as_bytes());
        digest.part("inputs", signature(&interface.inputs).as_bytes());
        digest.part("outputs", signature(&interface.outputs).as_bytes());
        digest
    }
}

/// Names cannot be told apart from what stands around them unless they are quoted.
fn signature(specs: &[TensorSpec]) -> String {
    let mut text = String::new();
    for TensorSpec { name, datatype, shape, optional } in specs {
        // Writing to a string does not fail.
        let _ = write!(text, "{name:?} {datatype} {shape} {optional};");
    }
    text
}

fn policy(loaded: &LoadedModel<'_>, cache: &ResponseCache) -> ModelPolicy {
    let caching = &loaded.config.caching;
    // What a model is told of a request is told of all its rows.
    let can_be_row_wise = loaded.interface.max_rows.is_some() && !loaded.model.reads_requests();
    if caching.row_wise == Some(true) && !can_be_row_wise {
        let model = &loaded.interface.model;
        tracing::warn!(%model, "response_cache_row_wise takes no effect: the model does not batch, or reads requests");
    }
    ModelPolicy {
        ttl: caching.ttl.map_or(cache.settings().ttl, |ttl| Some(ttl).filter(|ttl| !ttl.is_zero())),
        stale_while_revalidate: caching.stale_while_revalidate,
        negative_ttl: caching.negative_ttl,
        row_wise: can_be_row_wise && caching.row_wise.unwrap_or(true),
    }
}

/// Bytes that no other load has, of this process or another.
fn unique() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Seeded by the system's source of randomness.
    let (first, second) = (RandomState::new().hash_one(number), RandomState::new().hash_one(number));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests;
