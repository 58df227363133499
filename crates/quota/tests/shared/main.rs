//! What replicas share in a real Redis, which is restarted, frozen and killed. Where Redis is not installed, these tests fail and
//! say so.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod counts;
mod places;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adulis_pool::Health;
use adulis_quota::{Class, Limits, QuotaOptions, Quotas, Rate, SharedCounts};
use adulis_telemetry::MetricRegistry;
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_testing::{BackingServer, ScriptedService, becomes, metric, pool_options, redis_pool};
use adulis_types::{
    BoxFuture, Fault, InferRequest, InferResponse, InferenceService, InputTensor, ModelRef, Name, Retry,
};

/// One of several servers that share a Redis.
struct Replica {
    service: Arc<dyn InferenceService>,
    inner: Arc<ScriptedService>,
    quotas: Quotas,
    counts: SharedCounts,
    registry: MetricRegistry,
}

impl Replica {
    async fn start(redis: &BackingServer, limits: Limits) -> Self {
        let inner = Arc::new(ScriptedService::default());
        Self::around(redis, (Arc::clone(&inner) as _, inner), (limits, Duration::from_secs(15))).await
    }

    /// Around any service, with places whose leases last so long.
    async fn around(
        redis: &BackingServer,
        (service, inner): (Arc<dyn InferenceService>, Arc<ScriptedService>),
        (limits, lease): (Limits, Duration),
    ) -> Self {
        let registry = MetricRegistry::default();
        let url = format!("redis://{}", redis.address());
        let pool = redis_pool("quotas", &url, &pool_options(), &registry);
        let counts = SharedCounts::new(pool, "test:");
        let class = Class { limits, ..Class::default() };
        let classes = BTreeMap::from([(Name::from("default"), class)]);
        let options = QuotaOptions { classes, lease, ..QuotaOptions::default() };
        let quotas = Quotas::new(&options, Some(counts.clone()), &registry);
        let replica = Self { service: quotas.wrap(service), inner, quotas, counts, registry };
        replica.becomes(Health::Up).await;
        replica
    }

    async fn becomes(&self, health: Health) {
        becomes(health, || self.counts.status()).await;
    }

    async fn ask(&self, rows: usize) -> Result<InferResponse, Fault> {
        self.infer("echo", rows).await
    }

    fn infer(&self, model: &str, rows: usize) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        let tensor = Tensor::new(DataType::Uint8, Shape::new(&[rows]), vec![5; rows].into()).unwrap();
        let mut request = InferRequest::new(ModelRef::latest(model));
        request.inputs.push(InputTensor { name: "x".into(), tensor });
        self.service.infer(request)
    }

    /// Asks until it is refused: how many passed, and what is told then.
    async fn ask_all(&self) -> (u32, Retry, String) {
        let mut passed = 0;
        loop {
            let answer = self.ask(1).await;
            match &answer {
                Ok(_) => passed += 1,
                Err(fault) => return (passed, fault.retry(), state(&answer)),
            }
        }
    }

    fn unshared(&self) -> f64 {
        metric(&self.registry, "adulis_quota_unshared_total")
    }
}

/// So slow that nothing comes back while a test lasts.
fn slow(burst: u64) -> Rate {
    Rate { per_second: 0.000_001, burst }
}

fn state(answer: &Result<InferResponse, Fault>) -> String {
    let report = match answer {
        Ok(response) => response.quota.as_deref(),
        Err(fault) => fault.quota(),
    };
    let [_, (_, state)] = report.unwrap().fields();
    String::from_utf8(state.into()).unwrap()
}
