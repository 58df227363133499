use std::time::{Duration, Instant};

use adulis_batcher::{SequenceOffer, SequenceRefusedReason, SequenceTicket, ShapeClass};
use adulis_types::{InferRequest, InferResponse, Sequence, SequenceId};
use tokio::sync::oneshot;

use super::SequencePlan;
use super::controls::can_tell;
use crate::EngineError;
use crate::admission::{Admitted, shape_class};
use crate::executor::Executor;
use crate::flow;
use crate::instances::{Instances, microseconds};
use crate::job::{Job, Reply};
use crate::lane::{SequenceLane, SequenceNotQueued};

/// What tells the sequences of a model apart. Each identity has ids of its own, so that nobody gets into another's sequence, but
/// with a model that is told the ids and would take two of one id for the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SequenceKey {
    owner: u64,
    id: SequenceId,
}

/// A request of a sequence that waits for its turn.
#[derive(Debug)]
pub(crate) struct SequenceJob {
    pub(crate) id: SequenceId,
    pub(crate) job: Job,
}

impl Instances {
    /// The answer to a request of a sequence, and the rows that it took.
    pub(crate) async fn answer_in_sequence(
        &self,
        executor: &Executor,
        lane: &SequenceLane,
        request: InferRequest,
    ) -> Result<(usize, InferResponse), EngineError> {
        let InferRequest { id, request_id, identity, inputs, outputs, sequence, timeout, arrived, .. } =
            request;
        let Admitted { inputs, rows, outputs } = self.served.interface.admit(inputs, &outputs)?;
        let sequence = self.check_sequence(lane.plan(), sequence, rows)?;
        let deadline = timeout.and_then(|timeout| arrived.checked_add(timeout));
        let class = if lane.plan().batches { shape_class(&inputs) } else { ShapeClass::default() };
        let (reply, caller) = oneshot::channel();
        let queued = Instant::now();
        let _waiting = self.served.metrics().wait_in_queue();
        let Sequence { id: sequence, start, end } = sequence;
        let job = Job { id: 0, request_id, inputs, about: None, queued, reply, _waiting };
        let owner = identity.as_deref().map_or(0, flow::key);
        let is_told = lane.plan().id_datatype().is_some();
        let offer = SequenceOffer {
            id: SequenceKey { owner: if is_told { 0 } else { owner }, id: sequence.clone() },
            owner,
            start,
            end,
            class,
            payload: SequenceJob { id: sequence.clone(), job },
        };
        let (ticket, schedule) =
            lane.push(offer, queued).map_err(|reason| self.not_queued(lane, sequence, &reason))?;
        let waiting = Waiting { instances: self, executor, lane, ticket, armed: true };
        if schedule {
            executor.schedule(self);
        }
        let answer = waiting.wait(caller, queued, deadline).await?;
        Ok((rows, self.served.respond(id, answer, &outputs)))
    }

    /// Where the request stands in its sequence; a model that batches sequences takes no other requests.
    fn check_sequence(
        &self,
        plan: &SequencePlan,
        sequence: Option<Sequence>,
        rows: usize,
    ) -> Result<Sequence, EngineError> {
        let model = || self.served.interface.model.clone();
        if rows != 1 {
            return Err(EngineError::SequenceRows { model: model(), rows });
        }
        let sequence = sequence.ok_or_else(|| EngineError::NoCorrelationId { model: model() })?;
        match plan.id_datatype() {
            Some(datatype) if !can_tell(&sequence.id, datatype) => {
                Err(EngineError::CorrelationId { model: model(), id: sequence.id, datatype })
            }
            _ => Ok(sequence),
        }
    }

    fn not_queued(&self, lane: &SequenceLane, id: SequenceId, reason: &SequenceNotQueued) -> EngineError {
        let model = self.served.interface.model.clone();
        match *reason {
            SequenceNotQueued::Closed => EngineError::Unloaded { model: (&*model).into() },
            SequenceNotQueued::Refused(SequenceRefusedReason::NotStarted) => {
                EngineError::SequenceNotStarted { model, id }
            }
            SequenceNotQueued::Refused(SequenceRefusedReason::OfAnother) => {
                EngineError::SequenceOfAnother { model, id }
            }
            SequenceNotQueued::Refused(SequenceRefusedReason::QueueFull { limit }) => {
                let retry_after = lane.backlog().unwrap_or(Duration::from_secs(1));
                EngineError::QueueFull {
                    model,
                    limit,
                    what: adulis_batcher::QueueLimit::Requests,
                    retry_after,
                }
            }
        }
    }

    /// Answers requests whose sequence was given up before they could run.
    pub(crate) fn give_up(&self, orphans: Vec<SequenceJob>, reason: &'static str) {
        for SequenceJob { id, job } in orphans {
            let model = self.served.interface.model.clone();
            // A caller that has gone needs no answer.
            let _ = job.reply.send(Err(EngineError::SequenceGivenUp { model, id, reason }));
        }
    }
}

/// A caller that waits for its job. Dropped before the reply came, it cancels the job, and with it the sequence if the job
/// was to start it.
struct Waiting<'a> {
    instances: &'a Instances,
    executor: &'a Executor,
    lane: &'a SequenceLane,
    ticket: SequenceTicket,
    armed: bool,
}

impl Waiting<'_> {
    async fn wait(
        mut self,
        caller: oneshot::Receiver<Reply>,
        queued: Instant,
        deadline: Option<Instant>,
    ) -> Reply {
        let reply = match deadline {
            None => caller.await,
            Some(at) => match tokio::time::timeout_at(at.into(), caller).await {
                Ok(reply) => reply,
                // Dropping `self` takes the job out.
                Err(_) => {
                    let model = self.instances.served.interface.model.clone();
                    let waited_microseconds = microseconds(queued.elapsed());
                    return Err(EngineError::DeadlineExceeded { model, waited_microseconds });
                }
            },
        };
        self.armed = false;
        reply.unwrap_or(Err(EngineError::Closing))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let mut orphans = Vec::new();
        if self.lane.cancel(self.ticket, Instant::now(), &mut orphans) {
            self.executor.schedule(self.instances);
        }
        self.instances.give_up(orphans, "the request that starts it was cancelled or timed out");
    }
}
