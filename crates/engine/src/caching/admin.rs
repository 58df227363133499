use std::sync::{Arc, Weak};

use adulis_cache::ResponseCache;
use adulis_types::{CacheControl, CacheReport, ErrorKind, Failure, Fault};

use crate::ensemble;
use crate::lifecycle::Lifecycle;

/// The response cache, as operators see it.
pub(crate) struct CacheAdmin {
    pub(crate) cache: Arc<ResponseCache>,
    pub(crate) lifecycle: Weak<Lifecycle>,
}

impl CacheAdmin {
    /// What is purged with a model: itself, where it has a response cache, and the ensembles with one that are made of it.
    fn named(&self, model: &str) -> Vec<Arc<str>> {
        let Some(lifecycle) = self.lifecycle.upgrade() else {
            return Vec::new();
        };
        lifecycle.table.with(|models| {
            let is_cached = models.versions(model).any(|serving| serving.cached().is_some());
            let itself = is_cached.then(|| model.into());
            itself.into_iter().chain(ensemble::cached_with(model, models)).collect()
        })
    }
}

impl CacheControl for CacheAdmin {
    fn report(&self) -> CacheReport {
        super::report(&self.cache, self.lifecycle.upgrade().as_deref())
    }

    fn purge(&self, model: Option<&str>) -> Result<u64, Fault> {
        let purged = match model {
            None => self.cache.purge(None),
            Some(model) => {
                let named = self.named(model);
                if named.is_empty() {
                    let message = format!("model '{model}' is not there, or has no response cache");
                    return Err(Failure::new(ErrorKind::NotFound, message).into());
                }
                named.iter().map(|model| self.cache.purge(Some(model))).sum()
            }
        };
        tracing::info!(model = model.unwrap_or("*"), answers = purged, "the response cache is purged");
        Ok(purged)
    }
}
