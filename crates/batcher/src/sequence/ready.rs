use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::SequenceStrategy;
use crate::{BatchPolicy, BatchQueue, Decision, LONGEST_DELAY, Offer, ShapeClass, Ticket};

/// The slots of one instance whose next request can run, and which of them run together.
#[derive(Debug)]
pub(super) enum Ready {
    Direct(Direct),
    Oldest(Box<Oldest>),
}

/// What an instance should do.
pub(super) enum Choice {
    Idle,
    WaitUntil(Instant),
    /// Run the requests of these slots, which are not ready any more.
    Run(SmallVec<[usize; 1]>),
}

impl Ready {
    pub(super) fn new(strategy: &SequenceStrategy, slots: usize) -> Self {
        match strategy {
            SequenceStrategy::Direct { max_queue_delay, minimum_slot_utilization } => Self::Direct(Direct {
                delay: (*max_queue_delay).min(LONGEST_DELAY),
                enough: share(*minimum_slot_utilization, slots),
                order: BTreeSet::new(),
                marks: BTreeMap::new(),
            }),
            SequenceStrategy::Oldest { max_batch_size, preferred_batch_sizes, max_queue_delay } => {
                let policy = BatchPolicy {
                    max_batch_size: *max_batch_size,
                    preferred_batch_sizes: preferred_batch_sizes.clone(),
                    max_queue_delay: *max_queue_delay,
                    max_queued_rows: 0,
                    ..BatchPolicy::default()
                };
                Self::Oldest(Box::new(Oldest { queue: BatchQueue::new(policy), tickets: BTreeMap::new() }))
            }
        }
    }

    /// The next request of `slot`, of this class, can run from now on.
    pub(super) fn mark(&mut self, slot: usize, class: ShapeClass, now: Instant) {
        match self {
            Self::Direct(direct) => {
                direct.order.insert((now, slot));
                direct.marks.insert(slot, (now, class));
            }
            Self::Oldest(oldest) => {
                let offer = Offer {
                    rows: 1,
                    class,
                    priority: 0,
                    timeout: None,
                    deadline: None,
                    flow: None,
                    payload: slot,
                };
                let ticket = oldest.queue.push(offer, now).expect("invariant: one row fits any batch");
                oldest.tickets.insert(slot, ticket);
            }
        }
    }

    /// It can't: it is gone.
    pub(super) fn unmark(&mut self, slot: usize) {
        match self {
            Self::Direct(direct) => {
                if let Some((since, _)) = direct.marks.remove(&slot) {
                    direct.order.remove(&(since, slot));
                }
            }
            Self::Oldest(oldest) => {
                if let Some(ticket) = oldest.tickets.remove(&slot) {
                    oldest.queue.cancel(ticket);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Direct(direct) => direct.marks.is_empty(),
            Self::Oldest(oldest) => oldest.queue.is_empty(),
        }
    }

    pub(super) fn choose(&mut self, now: Instant) -> Choice {
        match self {
            Self::Direct(direct) => direct.choose(now),
            Self::Oldest(oldest) => oldest.choose(now),
        }
    }
}

/// Slots that are rows: all that are ready and of the class of the one that has been so for longest.
#[derive(Debug)]
pub(super) struct Direct {
    delay: Duration,
    /// Slots that need not wait for others.
    enough: usize,
    order: BTreeSet<(Instant, usize)>,
    marks: BTreeMap<usize, (Instant, ShapeClass)>,
}

impl Direct {
    fn choose(&mut self, now: Instant) -> Choice {
        let Some((since, oldest)) = self.order.first().copied() else {
            return Choice::Idle;
        };
        let class = &self.marks[&oldest].1;
        let alike = self.marks.iter().filter(|(_, (_, other))| other == class);
        let slots: SmallVec<[usize; 1]> = alike.map(|(slot, _)| *slot).collect();
        let until = since + self.delay;
        if slots.len() < self.enough && until > now {
            return Choice::WaitUntil(until);
        }
        for slot in &slots {
            if let Some((since, _)) = self.marks.remove(slot) {
                self.order.remove(&(since, *slot));
            }
        }
        Choice::Run(slots)
    }
}

/// Slots without a meaning for the model: a queue of requests, one for each slot.
#[derive(Debug)]
pub(super) struct Oldest {
    queue: BatchQueue<usize>,
    tickets: BTreeMap<usize, Ticket>,
}

impl Oldest {
    fn choose(&mut self, now: Instant) -> Choice {
        match self.queue.poll(now) {
            Decision::Idle => Choice::Idle,
            Decision::WaitUntil(at) => Choice::WaitUntil(at),
            Decision::Dispatch(batch) => {
                let slots: SmallVec<[usize; 1]> =
                    batch.members.into_iter().map(|member| member.payload).collect();
                for slot in &slots {
                    self.tickets.remove(slot);
                }
                Choice::Run(slots)
            }
        }
    }
}

/// How many of `slots` a share is, rounded up.
fn share(share: f32, slots: usize) -> usize {
    (1..=slots).find(|count| *count as f32 >= share * slots as f32).unwrap_or(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up_and_at_most_all() {
        let shares = [0.0, 0.25, 0.26, 0.5, 1.0, 7.0, -1.0, f32::NAN];
        assert_eq!(shares.map(|one| share(one, 4)), [1, 1, 2, 2, 4, 4, 1, 4]);
    }
}
