//! The rate limiter: which models' instances may run at once where they need resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use adulis_batcher::{LimitFault, Needs, Resource, ResourceLimit, ResourceLimiter};
use adulis_repository::{InstanceKind, ModelConfig};
use parking_lot::Mutex;

use crate::executor::Executor;
use crate::instances::Instances;

/// Whether instances wait for resources before they run. Triton's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RateLimit {
    /// They do not.
    #[default]
    Off,
    /// They do, and the least run is first, weighed by priority. There are as many units as is said here, none of what is not
    /// named; or, where the list is empty, as many of each resource as the most that one run needs.
    ExecutionCount(Vec<ResourceLimit>),
}

/// What a run of a model takes: of each resource the most that any of its instance groups needs, whichever instance runs. The
/// CPU is device 0, as in Triton.
fn needs(config: &ModelConfig) -> Needs {
    let mut needs: BTreeMap<Resource, u32> = BTreeMap::new();
    for group in &config.instance_group {
        let gpu = group.kind == InstanceKind::Gpu;
        let device = group.gpus.first().copied().filter(|_| gpu).unwrap_or(0);
        for resource in group.rate_limiter.iter().flat_map(|limiter| &limiter.resources) {
            let device = (!resource.global).then_some(device);
            let entry = needs.entry(Resource { name: resource.name.as_str().into(), device }).or_default();
            *entry = (*entry).max(resource.count);
        }
    }
    needs.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The limiter of an executor, whose members are its models' keys.
pub(crate) struct RateLimiter(Mutex<ResourceLimiter<usize>>);

/// What a model's runs need, and how often its turn comes.
pub(crate) struct Limited {
    needs: Needs,
    priority: u32,
}

impl Limited {
    /// `None` where no instance of the model needs anything.
    pub(crate) fn new(config: &ModelConfig) -> Option<Self> {
        let needs = needs(config);
        (!needs.is_empty()).then(|| Self { needs, priority: config.priority() })
    }
}

/// The only kind of instance that members have here.
const KIND: usize = 0;

impl RateLimiter {
    /// `None` where it is off.
    pub(crate) fn new(limit: &RateLimit) -> Option<Self> {
        match limit {
            RateLimit::Off => None,
            RateLimit::ExecutionCount(limits) => Some(Self(Mutex::new(ResourceLimiter::new(limits.clone())))),
        }
    }

    /// See [`ResourceLimiter::register`].
    pub(crate) fn register(&self, key: usize, limited: &Limited) -> Result<Vec<usize>, LimitFault> {
        self.0.lock().register(key, vec![limited.needs.clone()], limited.priority)
    }

    /// See [`ResourceLimiter::unregister`].
    pub(crate) fn unregister(&self, key: usize) -> Vec<usize> {
        self.0.lock().unregister(&key)
    }

    /// See [`ResourceLimiter::begin`].
    fn begin(&self, key: usize) -> bool {
        self.0.lock().begin(&key, KIND)
    }

    /// See [`ResourceLimiter::end`] and [`ResourceLimiter::undo`].
    fn end(&self, key: usize, used: bool) -> Vec<usize> {
        let mut limiter = self.0.lock();
        if used { limiter.end(&key, KIND) } else { limiter.undo(&key, KIND) }
    }
}

/// A model may not run yet. It is looked at when it may.
pub(crate) struct Waits;

/// What a run has taken of the resources that models share. Dropped, it is given back, also where the run panicked.
pub(crate) struct Permit {
    executor: Arc<Executor>,
    key: usize,
    used: bool,
}

impl Permit {
    /// Lets a model run: with what it has to give back, if it needs anything, and else with `None`.
    pub(crate) fn take(executor: &Arc<Executor>, model: &Instances) -> Result<Option<Self>, Waits> {
        let (Some(_), Some(limiter)) = (&model.limited, executor.limiter()) else {
            return Ok(None);
        };
        if limiter.begin(model.key) {
            Ok(Some(Self { executor: Arc::clone(executor), key: model.key, used: false }))
        } else {
            Err(Waits)
        }
    }

    /// There is a run. Without one, the model keeps its turn.
    pub(crate) fn used(&mut self) {
        self.used = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let limiter = self.executor.limiter();
        let granted = limiter.map_or_else(Vec::new, |limiter| limiter.end(self.key, self.used));
        self.executor.activate(&granted);
    }
}
