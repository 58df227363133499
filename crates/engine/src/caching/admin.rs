use std::sync::{Arc, Weak};

use adulis_cache::ResponseCache;
use adulis_types::{CacheControl, CacheReport, ErrorKind, Failure, Fault};

use crate::lifecycle::Lifecycle;
use crate::serving::ServingModel;

/// The response cache, as operators see it.
pub(crate) struct CacheAdmin {
    pub(crate) cache: Arc<ResponseCache>,
    pub(crate) lifecycle: Weak<Lifecycle>,
}

impl CacheAdmin {
    /// The versions of a model that answer, or all.
    fn serving(&self, model: Option<&str>) -> Vec<Arc<ServingModel>> {
        let Some(lifecycle) = self.lifecycle.upgrade() else {
            return Vec::new();
        };
        match model {
            None => lifecycle.table.all_serving(),
            Some(model) => lifecycle.table.serving(model).into_values().collect(),
        }
    }
}

impl CacheControl for CacheAdmin {
    fn report(&self) -> CacheReport {
        super::report(&self.cache, self.lifecycle.upgrade().as_deref())
    }

    fn purge(&self, model: Option<&str>) -> Result<u64, Fault> {
        let serving = self.serving(model);
        let cached: Vec<_> = serving.iter().filter_map(|serving| serving.served.cache.as_deref()).collect();
        if let Some(model) = model.filter(|_| cached.is_empty()) {
            let message = format!("model '{model}' is not there, or has no response cache");
            return Err(Failure::new(ErrorKind::NotFound, message).into());
        }
        let purged = self.cache.purge(model);
        tracing::info!(model = model.unwrap_or("*"), answers = purged, "the response cache is purged");
        Ok(purged)
    }
}
