//! What becomes of a batch that failed: its requests are run one by one, so that only those fail that make it fail.

use std::fmt;
use std::time::{Duration, Instant};

use adulis_types::RequestId;
use tokio::sync::oneshot;

use super::{Run, assemble};
use crate::EngineError;
use crate::instance::{RunError, Slot};
use crate::instances::Instances;
use crate::job::{JobInputs, Reply};
use crate::lane::{BatchLane, Replies};

/// Runs that are stopped of one batch because they take too long, at most: its own and two of its requests'. Then the others are
/// not run: each could hold the instance for as long again.
const MAX_STOPPED: usize = 3;

/// A request of a batch that is being run.
pub(super) struct Caller {
    pub(super) reply: oneshot::Sender<Reply>,
    /// How long it waited.
    pub(super) queued: Duration,
    pub(super) request_id: RequestId,
}

impl Instances {
    /// Answers the requests of a batch whose run failed.
    pub(super) fn answer_failed(
        &self,
        lane: &BatchLane,
        (callers, batch): (Vec<Caller>, &Run<'_>),
        slot: &mut Slot,
        error: RunError,
    ) -> Replies {
        let nobody_waits = callers.iter().all(|caller| caller.reply.is_closed());
        if nobody_waits || callers.len() == 1 {
            // Where nobody waits, it was interrupted because of that, most likely.
            let error = if nobody_waits { self.fault(error) } else { self.failed(error) };
            return callers.into_iter().map(|caller| (caller.reply, Err(error.clone()))).collect();
        }
        tracing::warn!(
            model = %self.served.interface.model, version = self.served.version, requests = callers.len(),
            request_ids = %Ids(&callers), ?error,
            "a batch failed: its requests are run one by one"
        );
        let replies = self.run_singly(lane, (&callers, batch), slot, usize::from(is_stopped(&error)));
        callers.into_iter().map(|caller| caller.reply).zip(replies).collect()
    }

    /// Runs each part of a failed batch by itself, with a time of its own. Leaves out those whose callers have gone, and, where
    /// too many runs were `stopped`, those that are left.
    fn run_singly(
        &self,
        lane: &BatchLane,
        (callers, batch): (&[Caller], &Run<'_>),
        slot: &mut Slot,
        mut stopped: usize,
    ) -> Vec<Reply> {
        let members = callers.iter().zip(batch.rows).enumerate();
        members
            .map(|(member, (caller, &rows))| {
                if stopped >= MAX_STOPPED {
                    return Err(self.fault(RunError::Interrupted));
                }
                if caller.reply.is_closed() || !self.begin_again(lane, slot) {
                    return Err(self.lost());
                }
                let alone: JobInputs =
                    batch.inputs.iter().map(|input| (input.index, input.parts[member].clone())).collect();
                let alone = assemble(&self.served.interface, std::iter::once(alone), rows);
                let request = batch.requests.get(member).map(std::slice::from_ref).unwrap_or_default();
                let batch = Run { inputs: &alone, rows: &[rows], requests: request, bound: Duration::ZERO };
                let mut answers = self.run_once(&batch, slot).map_err(|error| {
                    stopped += usize::from(is_stopped(&error));
                    if caller.reply.is_closed() { self.fault(error) } else { self.failed(error) }
                })?;
                self.served.checked(answers.pop().ok_or_else(|| self.lost())?)
            })
            .collect()
    }

    /// The instance begins another run for its batch, with a time of its own, and is made where there is none. `false` if nobody
    /// waits for that batch any more.
    pub(super) fn begin_again(&self, lane: &BatchLane, slot: &mut Slot) -> bool {
        if slot.has_lost() && slot.renew(&*self.model) {
            self.served.metrics().instance_rebuilds.inc();
        }
        lane.begin_again(slot, Instant::now())
    }

    /// What the client is told of a failed run that it waited for. Where not the request is to blame, it is to be seen whether
    /// the model answers at all.
    pub(super) fn failed(&self, error: RunError) -> EngineError {
        if let (RunError::Broken(_) | RunError::Panicked(_) | RunError::Interrupted, Some(watch)) =
            (&error, &self.watch)
        {
            watch.doubt(self.served.metrics().executions.get());
        }
        self.fault(error)
    }
}

fn is_stopped(error: &RunError) -> bool {
    matches!(error, RunError::Interrupted)
}

/// Ids of a batch's requests, as a log line has them: the first few, and how many more there are.
struct Ids<'a>(&'a [Caller]);

/// Ids that one log line names.
const MAX_IDS: usize = 8;

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, caller) in self.0.iter().take(MAX_IDS).enumerate() {
            let separator = if index > 0 { " " } else { "" };
            write!(f, "{separator}{}", caller.request_id)?;
        }
        match self.0.len().saturating_sub(MAX_IDS) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
