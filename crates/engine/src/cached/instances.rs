use std::sync::Arc;

use adulis_backend::BatchRequest;
use adulis_cache::{Inputs, ModelCache};
use tokio::runtime::Handle;

use super::{Asking, Lookup, Refreshing, revalidate};
use crate::EngineError;
use crate::decoupled::About;
use crate::executor::Executor;
use crate::instances::{Entry, Instances};
use crate::job::Answer;
use crate::lane::BatchLane;
use crate::serving::Served;

/// A model that has instances of its own, which requests wait for.
pub(crate) struct OnInstances<'a> {
    pub(crate) instances: &'a Instances,
    pub(crate) executor: &'a Executor,
    pub(crate) lane: &'a BatchLane,
    pub(crate) cache: &'a ModelCache,
}

impl OnInstances<'_> {
    /// No higher than whoever asks may have.
    fn priority(&self, asking: &Asking) -> u64 {
        self.instances.policy.capped(asking.priority, asking.highest_priority)
    }
}

impl Lookup for OnInstances<'_> {
    fn served(&self) -> &Served {
        &self.instances.served
    }

    fn cache(&self) -> &ModelCache {
        self.cache
    }

    fn reads_requests(&self) -> bool {
        self.instances.model.reads_requests()
    }

    fn rank(&self, asking: &Asking) -> u64 {
        self.instances.policy.level(self.priority(asking)).into()
    }

    async fn run(
        &self,
        asking: &Asking,
        (inputs, rows): (Inputs, usize),
        outputs: Option<&[usize]>,
    ) -> Result<Answer, EngineError> {
        let about = self.reads_requests().then(|| {
            let (id, parameters) = (asking.id.clone(), asking.parameters.clone());
            let request = BatchRequest { id, parameters, sequence: None, rows };
            Box::new(About { request, answers: None })
        });
        let entry = Entry {
            request_id: asking.request_id.clone(),
            identity: asking.identity.clone(),
            inputs,
            rows,
            priority: self.priority(asking),
            deadline: asking.deadline,
            about,
        };
        let mut answer = self.instances.run_entry((self.executor, self.lane), entry, asking.arrived).await?;
        if let Some(wanted) = outputs {
            let outputs = wanted.iter().filter_map(|index| answer.outputs.get(*index).cloned());
            answer.outputs = outputs.collect();
        }
        Ok(answer)
    }
}

impl Instances {
    /// Has what is out of date computed anew, while what is known is answered.
    pub(crate) fn refresh(self: &Arc<Self>, executor: &Arc<Executor>, refreshing: Box<Refreshing>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (instances, executor) = (Arc::clone(self), Arc::clone(executor));
        runtime.spawn(async move {
            let (Some(lane), Some(cache)) = (instances.batch_lane(), instances.served.cache.as_deref())
            else {
                return;
            };
            let place = OnInstances { instances: &instances, executor: &executor, lane, cache };
            revalidate(&place, *refreshing).await;
        });
    }
}
