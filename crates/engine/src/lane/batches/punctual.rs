use std::time::Instant;

use adulis_batcher::{
    AdmissionControl, AdmissionPolicy, Batch, BatchPolicy, Began, CostLines, Decision, Load, Offer, TooLate,
};

use super::State;
use crate::job::Job;

/// What a lane knows of when its jobs will be answered. Boxed, so that a lane is no larger for it.
pub(super) struct Punctual(Box<AdmissionControl>);

impl Punctual {
    pub(super) fn new(policy: AdmissionPolicy, batching: &BatchPolicy, cost: CostLines) -> Self {
        Self(Box::new(AdmissionControl::new(policy, batching, cost)))
    }
}

impl State {
    /// Whether a job would be answered in time. Costs nothing for one without deadline, where the queue is not bounded by
    /// time.
    pub(super) fn admit(&mut self, offer: &Offer<Job>, now: Instant) -> Result<(), TooLate> {
        let Some(Punctual(control)) =
            self.punctual.as_mut().filter(|Punctual(control)| control.concerns(offer.deadline))
        else {
            return Ok(());
        };
        let load = Load {
            position: self.queue.position(offer.rows, offer.priority, offer.flow),
            bucket: offer.class.bucket(),
            waiting: self.queue.mix(),
        };
        control.admit((offer.payload.id, offer.deadline), load, now)
    }

    /// What a free instance should do. Jobs that can't be answered in time any more go to `late`.
    pub(super) fn poll(&mut self, now: Instant, late: &mut Vec<Job>) -> Decision<Job> {
        let Some(Punctual(control)) = &mut self.punctual else {
            return self.queue.poll(now);
        };
        let decision = self.queue.poll_in_time(now, &|bucket, rows| control.cost(bucket, rows), late);
        if matches!(decision, Decision::WaitUntil(_)) {
            control.rests();
        }
        self.note_left(late.iter(), now);
        decision
    }

    pub(super) fn note_began(&mut self, place: usize, batch: &Batch<Job>, now: Instant) {
        if let Some(Punctual(control)) = &mut self.punctual {
            let others_wait = !self.queue.is_empty();
            let began = Began { place, rows: batch.rows, bucket: batch.bucket, others_wait };
            control.began(began, batch.members.iter().map(|member| member.payload.id), now);
        }
    }

    /// A run has ended; one on the caller's own thread has not begun here, and takes no look at the clock.
    pub(super) fn note_ended(&mut self, place: usize, is_typical: bool) {
        if let Some(Punctual(control)) =
            self.punctual.as_mut().filter(|Punctual(control)| control.runs(place))
        {
            control.ended(place, (is_typical, !self.queue.is_empty()), Instant::now());
        }
    }

    /// A caller has gone whose job was not run.
    pub(super) fn note_cancelled(&mut self, job: &Job) {
        if let Some(Punctual(control)) = &mut self.punctual {
            control.left(job.id, Instant::now());
        }
    }

    /// Jobs are out of the queue and will not be run.
    pub(super) fn note_left<'a>(&mut self, jobs: impl Iterator<Item = &'a Job>, now: Instant) {
        if let Some(Punctual(control)) = &mut self.punctual {
            jobs.for_each(|job| control.left(job.id, now));
        }
    }
}
