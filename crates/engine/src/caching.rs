//! Which models have a response cache, and what their keys are made of: decided when they are loaded.

mod admin;
mod identity;

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adulis_backend::{EngineOptions, TensorSpec};
use adulis_cache::{GuardedTier, ModelCache, ModelDigest, ModelPolicy, ResponseCache, Scope};
use adulis_repository::{Caching, ModelConfig, ModelEntry, ModelVersion, Scheduling};
use adulis_telemetry::CacheMetrics;
use adulis_tensor::{DataType, ShapePattern};
use adulis_types::{CacheReport, CachedModel, SharedTierReport};

pub(crate) use admin::CacheAdmin;
pub(crate) use identity::{Identified, Identity, files_of};

use crate::admission::Interface;
use crate::lifecycle::Lifecycle;
use crate::{LoadError, Settings};

/// What asks for a cache.
pub(crate) const KEY: &str = "response_cache.enable";
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
    let cached = serving.iter().filter_map(|serving| serving.cached());
    CacheReport {
        capacity_bytes: cache.capacity(),
        bytes: cache.bytes(),
        entries: cache.entries(),
        shared: cache.shared().map(|tier| tier_report(tier, cache.purges_pending())),
        models: cached.map(|scope| model_report(scope)).collect(),
    }
}

fn model_report(scope: &Scope) -> CachedModel {
    let counts = scope.read();
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

/// A model version whose answers may be remembered, before its files are read by anybody.
pub(crate) struct Wanted {
    cache: Arc<ResponseCache>,
    identity: Identity,
    /// Whether it is to have a response cache of its own, and whether its own configuration asks for it.
    is_cached: bool,
    is_asked: bool,
}

/// What a model version that serves has of the response cache.
#[derive(Default)]
pub(crate) struct Made {
    /// Its own.
    pub(crate) cache: Option<Box<ModelCache>>,
    /// Its part in those of ensembles.
    pub(crate) identity: Option<Box<Identity>>,
}

/// What a model version turned out to be when it was loaded.
pub(crate) struct LoadedModel<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) version: u64,
    pub(crate) backend: &'a str,
    /// Whether it is told of requests' ids and parameters.
    pub(crate) reads_requests: bool,
    pub(crate) options: &'a EngineOptions,
    pub(crate) interface: &'a Interface,
}

/// Whether a model version may have to do with a response cache, and what its files look like now if so.
pub(crate) fn wanted(
    cache: Option<&Arc<ResponseCache>>,
    entry: &ModelEntry,
    version: &ModelVersion,
) -> Option<Wanted> {
    let config = &entry.config;
    let Some(cache) = cache else {
        warn_if_off(config);
        return None;
    };
    let one_answer = matches!(config.scheduling, Scheduling::Unconfigured | Scheduling::Dynamic(_));
    let all = cache.settings().all_models && one_answer && !config.decoupled;
    let (is_asked, is_cached) = (config.response_cache, config.response_cache || all);
    let identity = Identity::of(entry, &version.path);
    Some(Wanted { cache: Arc::clone(cache), identity, is_cached, is_asked })
}

/// Tells that a model asks for a cache where there is none.
pub(crate) fn warn_if_off(config: &ModelConfig) {
    if config.response_cache {
        tracing::warn!(model = %config.name, "{KEY} takes no effect: the server's response cache is off");
    }
}

impl Wanted {
    /// What the model version has of the response cache, now that it is loaded: no cache of its own where it cannot have one and
    /// did not ask for it itself.
    ///
    /// Blocking: its files are read, if it is to have one.
    ///
    /// # Errors
    /// [`LoadError::Configuration`] where it asks for a cache and cannot have one, with the reason.
    pub(crate) fn make(self, loaded: &LoadedModel<'_>) -> Result<Made, LoadError> {
        let cache = if self.is_cached { self.own(loaded)? } else { None };
        Ok(Made { cache, identity: Some(Box::new(self.identity)) })
    }

    fn own(&self, loaded: &LoadedModel<'_>) -> Result<Option<Box<ModelCache>>, LoadError> {
        let LoadedModel { config, version, interface, .. } = *loaded;
        let identified = self.identity.find(|| loaded.digest(&self.cache.settings().namespace));
        let keys =
            identified
                .map_err(ToString::to_string)
                .and_then(|Identified { keys, random }| match random {
                    Some(operator) if !config.caching.insist => Err(random_reason(operator)),
                    _ => Ok(keys.clone()),
                });
        let keys = match keys {
            Ok(keys) => keys,
            Err(reason) if self.is_asked => return Err(refused(reason)),
            Err(reason) => {
                tracing::info!(model = %interface.model, version, %reason, "not cached");
                return Ok(None);
            }
        };
        // What a model is told of a request is told of all its rows.
        let by_rows = interface.max_rows.is_some() && !loaded.reads_requests;
        if config.caching.row_wise == Some(true) && !by_rows {
            let model = &interface.model;
            tracing::warn!(%model, "response_cache_row_wise takes no effect: the model does not batch, or reads requests");
        }
        let scope = Scope::new(Arc::clone(&interface.model), version);
        let policy = policy(&config.caching, by_rows, &self.cache);
        let cache = ModelCache::new(Arc::clone(&self.cache), (keys, scope), policy, outputs(interface));
        Ok(Some(Box::new(cache)))
    }
}

/// Why a model that is random is not cached.
pub(crate) fn random_reason(operator: &str) -> String {
    format!("the model has operator {operator}, so that its answers are no function of its inputs; {INSIST}")
}

/// A cache that a model asks for and cannot have.
fn refused(reason: String) -> LoadError {
    LoadError::Configuration { key: KEY.to_owned(), reason }
}

impl LoadedModel<'_> {
    /// All that the answers depend on beside files and requests.
    fn digest(&self, namespace: &str) -> ModelDigest {
        let Self { config, version, backend, options, interface, .. } = *self;
        let mut digest = begun(config, (version, interface), namespace);
        digest.part("backend", backend.as_bytes());
        let engine = format!("{:?} {:?}", options.graph_optimization, options.providers);
        digest.part("engine", engine.as_bytes());
        digest
    }
}

/// All that the answers of a model of whatever kind depend on, beside what answers them and requests.
pub(crate) fn begun(
    config: &ModelConfig,
    (version, interface): (u64, &Interface),
    namespace: &str,
) -> ModelDigest {
    let mut digest = ModelDigest::new(&interface.model, version);
    digest.part("namespace", namespace.as_bytes());
    digest.part("server", env!("CARGO_PKG_VERSION").as_bytes());
    digest.part("configuration", config.to_pbtxt().as_bytes());
    digest.part("max_rows", format!("{:?}", interface.max_rows).as_bytes());
    digest.part("inputs", signature(&interface.inputs).as_bytes());
    digest.part("outputs", signature(&interface.outputs).as_bytes());
    digest
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

/// What a model's answers are, for what comes from a shared tier.
pub(crate) fn outputs(interface: &Interface) -> Vec<(DataType, ShapePattern)> {
    interface.outputs.iter().map(|spec| (spec.datatype, spec.shape.clone())).collect()
}

/// How a model's answers are kept, by rows where they can be.
pub(crate) fn policy(caching: &Caching, by_rows: bool, cache: &ResponseCache) -> ModelPolicy {
    ModelPolicy {
        ttl: caching.ttl.map_or(cache.settings().ttl, |ttl| Some(ttl).filter(|ttl| !ttl.is_zero())),
        stale_while_revalidate: caching.stale_while_revalidate,
        negative_ttl: caching.negative_ttl,
        row_wise: by_rows && caching.row_wise.unwrap_or(true),
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
