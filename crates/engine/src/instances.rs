use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_backend::Model;
use adulis_batcher::{BatchPolicy, Offer, RefusedReason, ShapeClass};
use adulis_types::{InferRequest, InferResponse, RequestId};
use tokio::sync::oneshot;

use crate::EngineError;
use crate::admission::{Admitted, shape_class};
use crate::executor::Executor;
use crate::job::{Job, JobInputs, Reply};
use crate::lane::{BatchLane, Lane, NotQueued, Place};
use crate::plan::queue_timeout;
use crate::serving::Served;

/// A model version that has instances of its own, which requests wait for: what the executor knows of a model.
pub(crate) struct Instances {
    /// Key in the executor.
    pub(crate) key: usize,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) lane: Lane,
    /// Share of execution time among models that are ready at once.
    pub(crate) weight: u32,
    /// Whether requests share batches.
    pub(crate) merges: bool,
    pub(crate) policy: BatchPolicy,
    /// The last to be dropped: the files that came with the model are in it.
    pub(crate) served: Arc<Served>,
}

impl Instances {
    /// The answer, and the rows that it took.
    pub(crate) async fn answer(
        &self,
        executor: &Executor,
        request: InferRequest,
    ) -> Result<(usize, InferResponse), EngineError> {
        let lane = match &self.lane {
            Lane::Batches(lane) => lane,
            // Boxed, so that the future of an ordinary request is no larger for it.
            Lane::Sequences(lane) => return Box::pin(self.answer_in_sequence(executor, lane, request)).await,
        };
        let InferRequest { id, request_id, inputs, outputs, priority, timeout, arrived, .. } = request;
        let Admitted { inputs, rows, outputs } = self.served.interface.admit(inputs, &outputs)?;
        let answer = match lane.take_inline(rows, arrived) {
            Some(slot) => {
                let (reply, again) = self.run_inline(lane, inputs, rows, slot);
                if again {
                    executor.schedule(self);
                }
                reply?
            }
            None => {
                let deadline = timeout.and_then(|timeout| arrived.checked_add(timeout));
                self.run_queued(executor, lane, Entry { request_id, inputs, rows, priority, deadline })
                    .await?
            }
        };
        Ok((rows, self.served.respond(id, answer, &outputs)))
    }

    async fn run_queued(&self, executor: &Executor, lane: &BatchLane, entry: Entry) -> Reply {
        let Entry { request_id, inputs, rows, priority, deadline } = entry;
        let class = if self.merges { shape_class(&inputs) } else { ShapeClass::default() };
        let (reply, caller) = oneshot::channel();
        let queued = Instant::now();
        let _waiting = self.served.metrics().wait_in_queue();
        let job = Job { id: lane.next_id(), request_id, inputs, queued, reply, _waiting };
        let offer = Offer { rows, class, priority, timeout: None, deadline, payload: job };
        let (place, schedule) = lane.push(offer, queued).map_err(|reason| self.refusal(lane, &reason))?;
        let waiting = Waiting { lane, place, armed: true };
        if schedule {
            executor.schedule(self);
        }
        let queue_timeout =
            queue_timeout(&self.policy, priority).and_then(|timeout| queued.checked_add(timeout));
        self.wait(caller, waiting, Limits { queued, queue_timeout, deadline }).await
    }

    /// Waits for the reply, no longer than the limits allow.
    async fn wait(
        &self,
        mut caller: oneshot::Receiver<Reply>,
        mut waiting: Waiting<'_>,
        limits: Limits,
    ) -> Reply {
        if let Some(at) =
            limits.queue_timeout.filter(|at| limits.deadline.is_none_or(|deadline| *at < deadline))
        {
            if let Ok(reply) = tokio::time::timeout_at(at.into(), &mut caller).await {
                return waiting.done(reply.unwrap_or(Err(EngineError::Closing)));
            }
            if waiting.lane.cancel(waiting.place) {
                return waiting.done(Err(self.queue_timeout(limits.queued)));
            }
        }
        let reply = match limits.deadline {
            None => caller.await,
            Some(at) => match tokio::time::timeout_at(at.into(), caller).await {
                Ok(reply) => reply,
                // Dropping `waiting` takes the job out.
                Err(_) => {
                    let (model, waited) = (self.served.interface.model.clone(), limits.queued.elapsed());
                    return Err(EngineError::DeadlineExceeded {
                        model,
                        waited_microseconds: microseconds(waited),
                    });
                }
            },
        };
        waiting.done(reply.unwrap_or(Err(EngineError::Closing)))
    }

    pub(crate) fn queue_timeout(&self, queued: Instant) -> EngineError {
        let waited_microseconds = microseconds(queued.elapsed());
        EngineError::QueueTimeout { model: self.served.interface.model.clone(), waited_microseconds }
    }

    fn refusal(&self, lane: &BatchLane, reason: &NotQueued) -> EngineError {
        let model = self.served.interface.model.clone();
        match *reason {
            NotQueued::Closed => EngineError::Unloaded { model: (&*model).into() },
            NotQueued::Refused(RefusedReason::QueueFull { limit, what }) => {
                let retry_after = lane.backlog().unwrap_or(Duration::from_secs(1));
                EngineError::QueueFull { model, limit, what, retry_after }
            }
            NotQueued::Refused(RefusedReason::TooManyRows { rows, max }) => {
                EngineError::TooManyRows { model, rows, max }
            }
        }
    }
}

/// An admitted request on its way into the queue.
struct Entry {
    request_id: RequestId,
    inputs: JobInputs,
    rows: usize,
    priority: u64,
    deadline: Option<Instant>,
}

/// Until when a request may wait.
struct Limits {
    queued: Instant,
    queue_timeout: Option<Instant>,
    deadline: Option<Instant>,
}

/// A caller that waits for its job. Dropped before the reply came, it cancels the job.
struct Waiting<'a> {
    lane: &'a BatchLane,
    place: Place,
    armed: bool,
}

impl Waiting<'_> {
    fn done(&mut self, reply: Reply) -> Reply {
        self.armed = false;
        reply
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.lane.cancel(self.place);
        }
    }
}

pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
