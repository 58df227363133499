use std::sync::Arc;
use std::time::SystemTime;

use adulis_security::{
    AuthOptions, AuthSetupError, Authenticator, KeyDigest, KeySource, KeySourceError, RestrictedAccess,
    RestrictedApi, SourceKey,
};
use adulis_store::{ApiKeys, Store};
use adulis_telemetry::{AuthMetrics, MetricRegistry};
use adulis_types::{AccessControl, BoxFuture};
use tokio::runtime::Handle;

/// What requests have to show, and how it is found out who sends them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// What is known without a database; `None` where nobody is asked who they are.
    pub options: Option<AuthOptions>,
    /// Whether keys of the store are known, too, if there is a store.
    pub api_keys: bool,
    /// What is kept for requests with a header, whoever sends them.
    pub restricted: Vec<RestrictedApi>,
}

pub(crate) fn access(
    access: Access,
    store: Option<&Arc<Store>>,
    registry: &MetricRegistry,
) -> Result<Arc<dyn AccessControl>, AuthSetupError> {
    let Access { options, api_keys, restricted } = access;
    let asking = options.map(|options| authenticator((options, api_keys), store, registry)).transpose()?;
    match asking {
        Some(asking) if restricted.is_empty() => Ok(asking),
        asking => Ok(Arc::new(RestrictedAccess::new(restricted, asking))),
    }
}

fn authenticator(
    (options, api_keys): (AuthOptions, bool),
    store: Option<&Arc<Store>>,
    registry: &MetricRegistry,
) -> Result<Arc<dyn AccessControl>, AuthSetupError> {
    let keys = store.filter(|_| api_keys).map(|store| {
        let keys = StoredKeys { keys: store.keys(), runtime: store.runtime().clone() };
        Arc::new(keys) as Arc<dyn KeySource>
    });
    Ok(Arc::new(Authenticator::new(options, keys, AuthMetrics::register(registry))?))
}

/// The API keys of the store.
struct StoredKeys {
    keys: ApiKeys,
    runtime: Handle,
}

impl KeySource for StoredKeys {
    fn is_candidate(&self, key: &str) -> bool {
        ApiKeys::is_candidate(key)
    }

    fn find(&self, digest: KeyDigest) -> BoxFuture<'static, Result<Option<SourceKey>, KeySourceError>> {
        let keys = self.keys.clone();
        // A request that goes away does not take the database's connection with it.
        let looking = self.runtime.spawn(async move { keys.find_digest(&digest.0).await });
        Box::pin(async move {
            let now = SystemTime::now();
            Ok(looking.await??.map(|key| SourceKey {
                is_revoked: key.is_revoked(now),
                id: key.id,
                scopes: key.scopes,
                models: key.models,
                expires_at: key.expires_at,
                weight: key.weight,
                quota: key.quota,
            }))
        })
    }
}
