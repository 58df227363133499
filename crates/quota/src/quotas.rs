use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adulis_telemetry::{MetricRegistry, QuotaMetrics, causes};
use adulis_types::{InferRequest, InferenceService, Name, QuotaReport};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use crate::key::KeyRef;
use crate::ledger::{Account, Ledger, Place};
use crate::limits::{Applied, Classes};
use crate::service::Limited;
use crate::shared::{Lease, SharedJudgement, SharedPlaces};
use crate::{Class, Cost, Judgement, Limit, Moment, QuotaError, Refusal, SharedCounts, report};

/// How quotas are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaOptions {
    /// The classes, by name. `default` holds for identities that name none of the others.
    pub classes: BTreeMap<Name, Class>,
    /// Identities (and of limits of models: identities and models) that are told apart at a time.
    pub max_identities: usize,
    /// How long a place among requests at a time is kept in Redis for a replica that does not renew it. The same for all
    /// replicas.
    pub lease: Duration,
}

impl Default for QuotaOptions {
    fn default() -> Self {
        Self {
            classes: BTreeMap::new(),
            max_identities: 100_000,
            lease: Duration::from_secs(15),
        }
    }
}

/// Limits of what identities may ask for. Clones share the counts.
#[derive(Clone)]
pub struct Quotas(Arc<Inner>);

struct Inner {
    classes: Classes,
    ledger: Ledger,
    shared: Option<Shared>,
    unshared: Counter,
    /// What times are counted from.
    begun: Instant,
}

/// What replicas share in Redis.
struct Shared {
    counts: SharedCounts,
    places: SharedPlaces,
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").field("classes", &self.0.classes).finish_non_exhaustive()
    }
}

/// A request that was let through, as long as it is under way.
pub(crate) struct Admitted {
    pub(crate) report: QuotaReport,
    /// Held only to be dropped.
    pub(crate) place: AdmittedPlace,
}

/// The place of a request, where its number is limited.
pub(crate) struct AdmittedPlace {
    /// Goes first: whoever takes the place here finds the other one given back.
    _shared: Option<Lease>,
    _own: Option<Place>,
}

/// What was decided of a request.
struct Judged {
    judgement: Judgement,
    /// Of the requests at a time, those that are left, where there is such a limit.
    free: Option<u32>,
    lease: Option<Lease>,
}

impl Quotas {
    /// Limits of these classes, counted here, and with other replicas where there is something to share counts in.
    #[must_use]
    pub fn new(options: &QuotaOptions, shared: Option<SharedCounts>, registry: &MetricRegistry) -> Self {
        let metrics = QuotaMetrics::register(registry);
        let shared = shared.map(|counts| Shared {
            places: SharedPlaces::new(counts.pool.clone(), options.lease, metrics.lease_errors.clone()),
            counts,
        });
        let inner = Arc::new(Inner {
            classes: Classes::new(&options.classes, &metrics),
            ledger: Ledger::new(options.max_identities, metrics.forgotten.clone()),
            shared,
            unshared: metrics.unshared,
            begun: Instant::now(),
        });
        let observed = Arc::downgrade(&inner);
        registry.register_observed(
            "adulis_quota_identities",
            "Identities whose counts are kept, by model where a class has limits of models",
            move || observed.upgrade().map_or(0, |inner| inner.ledger.len() as u64),
        );
        let observed = Arc::downgrade(&inner);
        registry.register_observed(
            "adulis_quota_leases",
            "Requests under way whose places this replica holds among those that replicas share",
            move || {
                let inner = observed.upgrade();
                let held = inner.and_then(|inner| Some(inner.shared.as_ref()?.places.len()));
                held.map_or(0, |held| held as u64)
            },
        );
        Self(inner)
    }

    /// A service around another one that lets through what is within the limits.
    #[must_use]
    pub fn wrap(&self, inner: Arc<dyn InferenceService>) -> Arc<dyn InferenceService> {
        Arc::new(Limited::new(inner, self.clone()))
    }

    /// Gives back places of requests that are over and that replicas have not been told of yet, within `limit`. To be called when
    /// no more requests are served: what others could not be told has its places until their leases end.
    pub async fn close(&self, limit: Duration) {
        if let Some(shared) = &self.0.shared {
            shared.places.close(limit).await;
        }
    }

    /// What holds for a request, which has no higher priority afterwards than its identity may; `None`: nothing.
    pub(crate) fn applied(&self, request: &mut InferRequest) -> Option<Arc<Applied>> {
        let class = self.0.classes.of(class_of(request));
        request.highest_priority = class.and_then(|class| class.max_priority).map_or(0, NonZeroU32::get);
        class?.find(&request.model.name).cloned()
    }

    /// Counts a request, if it is within its limits.
    ///
    /// Dropping the future while it asks Redis leaves the request counted there, perhaps.
    pub(crate) async fn admit(
        &self,
        applied: &Applied,
        request: &InferRequest,
        cost: Cost,
    ) -> Result<Admitted, QuotaError> {
        let model = &request.model.name;
        let key = KeyRef::new(request.identity.as_deref(), applied.by_model.then_some(model.as_str()));
        let account = self.0.ledger.account(key);
        // First a place: what is refused for want of one is counted nowhere, and not asked elsewhere.
        let (own, free) = match applied.limits.concurrent_requests {
            None => (None, None),
            Some(most) => match account.enter(most.get()) {
                Some((place, free)) => (Some(place), Some(free)),
                None => {
                    let judgement = self.look(&account, applied);
                    return Err(refused(applied, model, (&judgement, Some(0))));
                }
            },
        };
        let Judged { judgement, free, lease } = self.judge((key, &*account), applied, (cost, free)).await;
        if judgement.refusal.is_some() {
            return Err(refused(applied, model, (&judgement, free)));
        }
        applied.allowed.inc();
        let standings = report::standings(&judgement, &applied.limits, free);
        let report = QuotaReport { policy: applied.policy.clone(), standings };
        Ok(Admitted { report, place: AdmittedPlace { _shared: lease, _own: own } })
    }

    /// `free` is what is left here of the requests at a time.
    async fn judge(
        &self,
        (key, account): (KeyRef<'_>, &Account),
        applied: &Applied,
        (cost, free): (Cost, Option<u32>),
    ) -> Judged {
        let limits = &applied.limits;
        let alone = |lease| {
            let judgement = account.counts.lock().judge(limits, cost, self.now());
            // It was let in, and goes if it is refused.
            let free = free.map(|free| free + u32::from(judgement.refusal.is_some()));
            Judged { judgement, free, lease }
        };
        let Some(shared) = &self.0.shared else {
            return alone(None);
        };
        let keys = shared.counts.keys(key);
        let lease = limits.concurrent_requests.map(|_| shared.places.take(keys.places()));
        match shared.counts.judge(&keys, (limits, cost), lease.as_ref()).await {
            Ok(SharedJudgement { judgement, free }) => {
                account.counts.lock().learn(&judgement, limits, self.now());
                let passed = judgement.refusal.is_none();
                Judged { judgement, free, lease: lease.and_then(|lease| lease.settle(passed)) }
            }
            Err(error) => {
                tracing::debug!(error = causes(&error), "a request is counted by this replica alone");
                self.0.unshared.inc();
                alone(lease.map(|lease| lease.unanswered(&error)))
            }
        }
    }

    /// How the limits stand.
    fn look(&self, account: &Account, applied: &Applied) -> Judgement {
        let refusal = Refusal { limit: Limit::ConcurrentRequests, retry: None };
        account.counts.lock().read(&applied.limits, self.now(), Some(refusal))
    }

    fn now(&self) -> Moment {
        Moment::new(self.0.begun.elapsed(), SystemTime::now())
    }
}

fn class_of(request: &InferRequest) -> &str {
    request.identity.as_ref().map_or("", |identity| &identity.quota)
}

fn refused(applied: &Applied, model: &Name, (judgement, free): (&Judgement, Option<u32>)) -> QuotaError {
    let refusal = judgement.refusal.unwrap_or(Refusal { limit: Limit::Requests, retry: None });
    applied.refused(refusal.limit).inc();
    QuotaError::new(refusal, applied, model, report::standings(judgement, &applied.limits, free))
}
