use std::time::{Duration, Instant};

use adulis_batcher::{RunEnd, SequenceMember};
use adulis_tensor::Tensor;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::batch::{Done, Member, SequenceRun};
use super::states::SlotStates;
use super::{SequenceJob, SequencePlan};
use crate::EngineError;
use crate::instance::{RunError, Slot};
use crate::instances::Instances;
use crate::job::{Answer, Reply};
use crate::lane::{BoundSequences, Ended, Replies, SequenceLane};

/// Where an answer goes.
struct Caller {
    reply: oneshot::Sender<Reply>,
    /// How long it waited.
    queued: Duration,
}

/// What became of the members of a batch.
struct Outcome {
    /// One for each member.
    results: Vec<Result<Done, EngineError>>,
    /// The instance knew what nobody else does of its sequences, and is gone.
    lost: bool,
    /// How long the run took, if it was one and went well.
    infer: Option<Duration>,
}

impl Instances {
    /// Runs a batch of requests of sequences, answers them, and gives the instance back. The flag says whether the model has
    /// more to do.
    pub(crate) fn run_sequences(
        &self,
        lane: &SequenceLane,
        bound: BoundSequences,
        mut slot: Slot,
        at: Instant,
    ) -> bool {
        let metrics = self.served.metrics();
        metrics.executing.inc();
        let BoundSequences { batch, number } = bound;
        let mut callers = Vec::with_capacity(batch.members.len());
        let mut members = Vec::with_capacity(batch.members.len());
        for member in batch.members {
            let queued = at.saturating_duration_since(member.enqueued);
            metrics.queue.observe(queued);
            let (member, reply) = unpack(member, lane.plan(), &slot.states);
            callers.push(Caller { reply, queued });
            members.push(member);
        }
        let run = SequenceRun { instances: self, plan: lane.plan(), members: &members, rows: batch.rows };
        let Outcome { results, lost, infer } = self.run_groups(&run, &mut slot, at);
        let failed: SmallVec<[usize; 8]> = members
            .iter()
            .zip(&results)
            .filter(|(_, result)| result.is_err())
            .map(|(member, _)| member.slot)
            .collect();
        let replies = keep(&members, results, &mut slot.states, callers);
        if lost {
            slot.states.clear();
        }
        let ended = Ended {
            end: RunEnd { failed: &failed, lost },
            took: infer.map(|infer| (batch.rows, infer)),
        };
        let mut orphans = Vec::new();
        // The instance goes back before anybody is told, so that who comes next finds it free.
        let again = lane.give_back(slot, &ended, &mut orphans);
        metrics.executing.dec();
        lane.answer(number, replies);
        let reason = if lost {
            "its instance of the model failed"
        } else {
            "the request that starts it failed"
        };
        self.give_up(orphans, reason);
        again
    }

    /// Runs together those members whose states can share a batch: nearly always all of them.
    fn run_groups(&self, run: &SequenceRun<'_>, slot: &mut Slot, at: Instant) -> Outcome {
        let keeps_state = self.model.keeps_state();
        let groups = run.groups();
        let is_one_run = groups.len() == 1;
        let mut results: Vec<Option<Result<Done, EngineError>>> = run.members.iter().map(|_| None).collect();
        let (mut lost, mut infer) = (false, None);
        for group in groups {
            let done = match run.once(&group, slot, at.elapsed()) {
                Ok(done) => {
                    infer = done.first().map(|done| done.timings.compute_infer).filter(|_| is_one_run);
                    done.into_iter().map(|done| self.finite(done)).collect()
                }
                // What a failed run has changed in an instance that keeps something, nobody knows.
                Err(error) if group.len() == 1 || keeps_state => {
                    let error = self.fault(error);
                    group.iter().map(|_| Err(error.clone())).collect()
                }
                Err(error) => self.run_each(run, &group, slot, &error),
            };
            for (member, done) in group.into_iter().zip(done) {
                results[member] = Some(done);
            }
            lost |= keeps_state && slot.has_lost();
            if lost {
                break;
            }
        }
        let results = results.into_iter().map(|result| result.unwrap_or_else(|| Err(self.lost())));
        Outcome { results: results.collect(), lost, infer }
    }

    /// What was done for a request, unless the model refuses outputs such as it has.
    fn finite(&self, done: Done) -> Result<Done, EngineError> {
        self.served.check_finite(&done.outputs)?;
        Ok(done)
    }

    /// Runs each member of a failed group by itself, so that only those requests fail that make it fail.
    fn run_each(
        &self,
        run: &SequenceRun<'_>,
        group: &[usize],
        slot: &mut Slot,
        error: &RunError,
    ) -> Vec<Result<Done, EngineError>> {
        let (model, version) = (&self.served.interface.model, self.served.version);
        let requests = group.len();
        tracing::warn!(%model, version, requests, ?error, "a batch failed: its requests are run one by one");
        let alone = |&member: &usize| {
            let mut done = run.once(&[member], slot, Duration::ZERO).map_err(|error| self.fault(error))?;
            self.finite(done.pop().ok_or_else(|| self.lost())?)
        };
        group.iter().map(alone).collect()
    }
}

/// What a run needs of a request, with the states that its sequence has come to, or begins with.
fn unpack(
    member: SequenceMember<SequenceJob>,
    plan: &SequencePlan,
    kept: &SlotStates,
) -> (Member, oneshot::Sender<Reply>) {
    let SequenceMember { slot, row, start, end, payload: SequenceJob { id, job }, .. } = member;
    let kept = kept.get(slot).filter(|_| !start);
    let states: Vec<Tensor> = match kept {
        Some(kept) => kept.to_vec(),
        None => plan.states.iter().map(|state| state.initial.clone()).collect(),
    };
    (Member { slot, row, start, end, id, inputs: job.inputs, states }, job.reply)
}

/// Keeps what the sequences have come to, and gives each caller its reply.
fn keep(
    members: &[Member],
    results: Vec<Result<Done, EngineError>>,
    states: &mut SlotStates,
    callers: Vec<Caller>,
) -> Replies {
    let answered = members.iter().zip(results).zip(callers);
    let replies = answered.map(|((member, result), Caller { reply, queued })| {
        if member.end || (member.start && result.is_err()) {
            states.forget(member.slot);
        }
        let answer = result.map(|done| {
            if !member.end && !done.states.is_empty() {
                states.put(member.slot, done.states);
            }
            let mut timings = done.timings;
            timings.queue = queued;
            Answer { outputs: done.outputs, timings, ..Answer::default() }
        });
        (reply, answer)
    });
    replies.collect()
}
