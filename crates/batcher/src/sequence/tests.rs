use std::time::{Duration, Instant};

use super::*;
use crate::ShapeClass;

const START: (bool, bool) = (true, false);
const MIDDLE: (bool, bool) = (false, false);
const END: (bool, bool) = (false, true);

struct Bench {
    queue: SequenceQueue<char, u32>,
    now: Instant,
    orphans: Vec<u32>,
}

impl Bench {
    fn new(policy: SequencePolicy) -> Self {
        Self { queue: SequenceQueue::new(policy), now: Instant::now(), orphans: Vec::new() }
    }

    fn direct(instances: usize, slots: usize) -> Self {
        let strategy =
            SequenceStrategy::Direct { max_queue_delay: Duration::ZERO, minimum_slot_utilization: 0.0 };
        Self::new(policy(instances, slots, strategy))
    }

    fn oldest(instances: usize, slots: usize, max_batch_size: usize) -> Self {
        let (preferred_batch_sizes, max_queue_delay) = (Vec::new(), Duration::ZERO);
        let strategy = SequenceStrategy::Oldest { max_batch_size, preferred_batch_sizes, max_queue_delay };
        Self::new(policy(instances, slots, strategy))
    }

    fn try_push(
        &mut self,
        id: char,
        flags: (bool, bool),
        payload: u32,
    ) -> Result<SequenceTicket, SequenceRefusedReason> {
        self.push_of(0, id, flags, payload)
    }

    fn push_of(
        &mut self,
        owner: u64,
        id: char,
        (start, end): (bool, bool),
        payload: u32,
    ) -> Result<SequenceTicket, SequenceRefusedReason> {
        let offer = SequenceOffer { id, owner, start, end, class: ShapeClass::default(), payload };
        self.queue.push(offer, self.now).map_err(|refused| {
            assert_eq!(refused.payload, payload, "it is given back");
            refused.reason
        })
    }

    fn push(&mut self, id: char, flags: (bool, bool), payload: u32) -> SequenceTicket {
        self.try_push(id, flags, payload).unwrap()
    }

    fn classed(&mut self, id: char, payload: u32, class: u64) {
        let class = ShapeClass::new([class]);
        let offer = SequenceOffer { id, owner: 0, start: true, end: false, class, payload };
        self.queue.push(offer, self.now).unwrap();
    }

    /// Payload and row of each member, and the rows of the batch.
    fn batch(&mut self, instance: usize) -> (Vec<(u32, usize)>, usize) {
        match self.queue.poll(instance, self.now) {
            SequenceDecision::Dispatch(batch) => {
                let members = batch.members.into_iter().map(|member| (member.payload, member.row));
                (members.collect(), batch.rows)
            }
            _ => (Vec::new(), 0),
        }
    }

    fn until(&mut self, instance: usize) -> Option<Instant> {
        match self.queue.poll(instance, self.now) {
            SequenceDecision::WaitUntil(at) => Some(at),
            _ => None,
        }
    }

    fn complete(&mut self, instance: usize) {
        self.end(instance, RunEnd::default());
    }

    fn end(&mut self, instance: usize, end: RunEnd<'_>) {
        self.queue.complete(instance, end, self.now, &mut self.orphans);
    }

    /// What one run after the other answers on an instance, until nothing is ready.
    fn runs(&mut self, instance: usize) -> Vec<Vec<u32>> {
        let mut runs = Vec::new();
        loop {
            let (members, _) = self.batch(instance);
            if members.is_empty() {
                return runs;
            }
            runs.push(members.into_iter().map(|(payload, _)| payload).collect());
            self.complete(instance);
        }
    }
}

fn policy(instances: usize, slots: usize, strategy: SequenceStrategy) -> SequencePolicy {
    SequencePolicy { instances, slots, strategy, max_idle: ms(1000), max_queued_requests: 0 }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_sequence_keeps_its_row_and_others_go_along_empty() {
    let mut bench = Bench::direct(1, 4);
    for (id, payload) in [('a', 0), ('b', 1), ('c', 2)] {
        bench.push(id, START, payload);
    }
    assert_eq!(bench.batch(0), (vec![(0, 0), (1, 1), (2, 2)], 3));
    bench.complete(0);
    bench.push('c', MIDDLE, 3);
    bench.push('b', END, 4);
    assert_eq!(bench.batch(0), (vec![(4, 1), (3, 2)], 3));
    bench.complete(0);
    bench.push('d', START, 5);
    assert_eq!(bench.batch(0), (vec![(5, 1)], 3), "the lowest free slot");
    bench.complete(0);
    bench.push('c', END, 6);
    assert_eq!(bench.batch(0), (vec![(6, 2)], 3));
    bench.complete(0);
    bench.push('a', MIDDLE, 7);
    assert_eq!(bench.batch(0), (vec![(7, 0)], 2), "rows after the last open sequence are left out");
}

#[test]
fn requests_of_a_sequence_run_one_by_one_in_order() {
    for mut bench in [Bench::direct(1, 4), Bench::oldest(1, 4, 4)] {
        bench.push('a', START, 0);
        bench.push('a', MIDDLE, 1);
        bench.push('b', START, 2);
        bench.push('a', END, 3);
        bench.push('b', END, 4);
        assert_eq!(bench.batch(0).0.len(), 2);
        assert!(bench.batch(0).0.is_empty(), "while it runs, there is nothing to do");
        bench.complete(0);
        let mut rest = bench.runs(0);
        rest[0].sort_unstable();
        assert_eq!(rest, [vec![1, 4], vec![3]]);
        assert_eq!((bench.queue.active(), bench.queue.len()), (0, 0));
    }
}

#[test]
fn the_first_request_must_start_its_sequence() {
    let mut bench = Bench::direct(1, 1);
    assert_eq!(bench.try_push('a', MIDDLE, 0), Err(SequenceRefusedReason::NotStarted));
    bench.push('a', START, 1);
    bench.push('a', END, 2);
    assert_eq!(bench.try_push('a', MIDDLE, 3), Err(SequenceRefusedReason::NotStarted), "it ends");
    bench.push('b', START, 4);
    bench.push('b', MIDDLE, 5);
    assert_eq!(bench.queue.backlog(), 1);
    assert_eq!(bench.runs(0), [[1], [2], [4], [5]]);
    assert_eq!(bench.try_push('a', MIDDLE, 6), Err(SequenceRefusedReason::NotStarted), "it has ended");
}

#[test]
fn a_sequence_takes_no_requests_of_another_owner_until_it_is_over() {
    let mut bench = Bench::direct(1, 2);
    bench.push_of(1, 'a', START, 0).unwrap();
    for flags in [START, MIDDLE, END] {
        assert_eq!(bench.push_of(2, 'a', flags, 1), Err(SequenceRefusedReason::OfAnother));
    }
    bench.push_of(2, 'b', START, 2).unwrap();
    bench.push_of(1, 'a', END, 3).unwrap();
    assert_eq!(bench.push_of(2, 'a', START, 4), Err(SequenceRefusedReason::OfAnother), "it ends");
    assert_eq!(bench.batch(0).0, [(0, 0), (2, 1)]);
    bench.complete(0);
    assert_eq!(bench.batch(0).0, [(3, 0)]);
    bench.complete(0);
    assert_eq!(bench.push_of(2, 'a', MIDDLE, 5), Err(SequenceRefusedReason::NotStarted), "it has ended");
    bench.push_of(2, 'a', START, 6).unwrap();
    assert_eq!(bench.push_of(1, 'a', MIDDLE, 7), Err(SequenceRefusedReason::OfAnother));
}

#[test]
fn the_backlog_is_first_come_first_served() {
    let mut bench = Bench::oldest(1, 2, 1);
    for (index, id) in ('a'..='e').enumerate() {
        bench.push(id, START, u32::try_from(index).unwrap());
    }
    assert_eq!((bench.queue.active(), bench.queue.backlog()), (2, 3));
    bench.push('c', END, 10);
    bench.push('b', END, 11);
    assert_eq!(bench.runs(0), [[0], [1], [11], [2], [10], [3]], "c takes b's slot, d takes c's");
    bench.push('a', END, 12);
    assert_eq!(bench.runs(0), [[12], [4]]);
}

#[test]
fn an_id_that_is_used_again_waits_for_a_slot_like_any_other() {
    let mut bench = Bench::direct(1, 1);
    bench.push('a', START, 0);
    bench.push('b', (true, true), 1);
    bench.push('a', END, 2);
    bench.push('a', (true, true), 3);
    assert_eq!(bench.runs(0), [[0], [2], [1], [3]]);
    assert_eq!(bench.queue.active() + bench.queue.backlog(), 0);
}

#[test]
fn a_start_on_an_open_id_begins_anew_in_the_same_slot() {
    let mut bench = Bench::direct(1, 2);
    bench.push('a', START, 0);
    bench.push('b', START, 1);
    assert_eq!(bench.runs(0), [[0, 1]]);
    bench.push('b', MIDDLE, 2);
    bench.push('b', START, 3);
    assert_eq!(bench.batch(0), (vec![(2, 1)], 2), "what was waiting runs");
    bench.complete(0);
    let SequenceDecision::Dispatch(batch) = bench.queue.poll(0, bench.now) else {
        panic!("nothing to run");
    };
    assert_eq!((batch.members[0].start, batch.members[0].slot), (true, 1));
}

#[test]
fn sequences_go_to_the_instance_with_the_fewest() {
    let mut bench = Bench::direct(3, 2);
    for (index, id) in ('a'..='g').enumerate() {
        bench.push(id, (true, id == 'b'), u32::try_from(index).unwrap());
    }
    assert_eq!(bench.queue.backlog(), 1);
    let rows = [0, 1, 2].map(|instance| bench.batch(instance).0);
    assert_eq!(rows, [vec![(0, 0), (3, 1)], vec![(1, 0), (4, 1)], vec![(2, 0), (5, 1)]]);
    bench.complete(1);
    assert_eq!(bench.batch(1), (vec![(6, 0)], 2));
}

#[test]
fn a_batch_waits_for_its_share_of_slots_no_longer_than_the_delay() {
    let strategy = SequenceStrategy::Direct { max_queue_delay: ms(5), minimum_slot_utilization: 0.5 };
    let mut bench = Bench::new(policy(1, 4, strategy));
    let begun = bench.now;
    bench.push('a', START, 0);
    assert_eq!(bench.until(0), Some(begun + ms(5)));
    bench.now += ms(2);
    bench.push('b', START, 1);
    assert_eq!(bench.batch(0).0.len(), 2, "half of the slots");
    bench.complete(0);
    bench.push('a', MIDDLE, 2);
    bench.now += ms(5);
    assert_eq!(bench.batch(0), (vec![(2, 0)], 2), "the delay is over");
}

#[test]
fn the_oldest_strategy_batches_by_size_and_delay() {
    let strategy = SequenceStrategy::Oldest {
        max_batch_size: 4,
        preferred_batch_sizes: vec![2],
        max_queue_delay: ms(5),
    };
    let mut bench = Bench::new(policy(1, 8, strategy));
    bench.push('a', START, 0);
    bench.push('a', MIDDLE, 1);
    assert_eq!(bench.until(0), Some(bench.now + ms(5)), "one of a sequence is no two");
    bench.push('b', START, 2);
    assert_eq!(bench.batch(0), (vec![(0, 0), (2, 1)], 2));
    bench.now += ms(9);
    bench.complete(0);
    assert_eq!(bench.until(0), Some(bench.now + ms(5)), "the delay counts from when it could run");
}

#[test]
fn other_classes_wait_for_the_next_batch() {
    let mut bench = Bench::direct(1, 3);
    bench.classed('a', 0, 7);
    bench.classed('b', 1, 8);
    bench.classed('c', 2, 7);
    assert_eq!(bench.batch(0), (vec![(0, 0), (2, 2)], 3));
    bench.complete(0);
    assert_eq!(bench.batch(0), (vec![(1, 1)], 3));
}

#[test]
fn idle_sequences_make_room() {
    let mut bench = Bench::direct(1, 1);
    bench.push('a', START, 0);
    bench.push('b', START, 1);
    assert_eq!(bench.queue.next_expiry(), None, "neither is idle");
    assert_eq!(bench.batch(0).0, [(0, 0)]);
    bench.now += ms(5000);
    assert_eq!(bench.queue.next_expiry(), None, "a long run is no idleness");
    bench.complete(0);
    assert_eq!(bench.queue.next_expiry(), Some(bench.now + ms(1000)));
    bench.now += ms(999);
    bench.queue.expire(bench.now);
    assert_eq!(bench.queue.backlog(), 1);
    bench.now += ms(1);
    bench.queue.expire(bench.now);
    assert_eq!((bench.queue.backlog(), bench.queue.is_taken(0, 0)), (0, true));
    assert_eq!(bench.runs(0), [[1]]);
    assert_eq!(bench.try_push('a', MIDDLE, 2), Err(SequenceRefusedReason::NotStarted));
    bench.now += ms(1000);
    assert_eq!(
        bench.try_push('b', MIDDLE, 3),
        Err(SequenceRefusedReason::NotStarted),
        "a push looks, too"
    );
}

#[test]
fn a_cancelled_start_takes_its_sequence_along() {
    let mut bench = Bench::direct(1, 1);
    let start = bench.push('a', START, 0);
    bench.push('a', MIDDLE, 1);
    bench.push('b', START, 2);
    bench.push('a', START, 3);
    assert_eq!(bench.queue.cancel(start, bench.now, &mut bench.orphans), Some(0));
    assert_eq!(bench.queue.cancel(start, bench.now, &mut bench.orphans), None);
    assert_eq!(bench.orphans, [1], "the next start of the id is its own");
    assert_eq!(bench.runs(0), [[3]]);
    let middle = bench.push('a', MIDDLE, 4);
    bench.push('a', END, 5);
    bench.queue.cancel(middle, bench.now, &mut bench.orphans).unwrap();
    assert_eq!(bench.runs(0), [[5], [2]], "a sequence goes on without a request in its midst");
    let end = bench.push('b', END, 6);
    bench.queue.cancel(end, bench.now, &mut bench.orphans).unwrap();
    assert_eq!(bench.queue.active(), 0, "a cancelled end is an end");
}

#[test]
fn a_start_that_is_cancelled_in_the_backlog_gives_its_place_up() {
    let mut bench = Bench::direct(1, 1);
    bench.push('a', START, 0);
    let first = bench.push('b', START, 1);
    bench.push('c', START, 2);
    bench.push('b', START, 3);
    bench.queue.cancel(first, bench.now, &mut bench.orphans).unwrap();
    bench.push('a', END, 4);
    assert_eq!(bench.runs(0), [[0], [4], [2]], "c came before b's second start");
    assert_eq!(bench.queue.backlog(), 1);
}

#[test]
fn a_start_that_fails_takes_its_sequence_along() {
    let mut bench = Bench::direct(1, 2);
    bench.push('a', START, 0);
    bench.push('a', MIDDLE, 1);
    bench.push('b', START, 2);
    bench.push('b', MIDDLE, 3);
    assert_eq!(bench.batch(0).0.len(), 2);
    bench.end(0, RunEnd { failed: &[0], lost: false });
    assert_eq!((bench.orphans.as_slice(), bench.queue.active()), ([1].as_slice(), 1));
    assert_eq!(bench.batch(0).0, [(3, 1)]);
    bench.push('b', MIDDLE, 4);
    bench.end(0, RunEnd { failed: &[1], lost: false });
    assert_eq!(bench.batch(0).0, [(4, 1)], "a failure in the midst leaves the sequence open");
}

#[test]
fn an_instance_that_lost_its_state_loses_its_sequences() {
    let mut bench = Bench::direct(2, 3);
    for (index, id) in ('a'..='e').enumerate() {
        bench.push(id, START, u32::try_from(index).unwrap());
    }
    bench.batch(0);
    bench.batch(1);
    bench.complete(0);
    bench.complete(1);
    bench.push('a', MIDDLE, 10);
    bench.push('a', MIDDLE, 11);
    bench.push('f', START, 12);
    bench.push('b', MIDDLE, 13);
    let (members, _) = bench.batch(0);
    assert_eq!(members, [(10, 0)]);
    bench.push('c', MIDDLE, 14);
    bench.end(0, RunEnd { failed: &[0], lost: true });
    bench.orphans.sort_unstable();
    assert_eq!(bench.orphans, [11, 14]);
    assert_eq!(bench.try_push('e', MIDDLE, 15), Err(SequenceRefusedReason::NotStarted));
    assert_eq!(bench.batch(1).0, [(13, 0), (12, 2)], "the other instance's sequences go on");
}

#[test]
fn the_bound_refuses() {
    let strategy =
        SequenceStrategy::Direct { max_queue_delay: Duration::ZERO, minimum_slot_utilization: 0.0 };
    let mut bench = Bench::new(SequencePolicy { max_queued_requests: 2, ..policy(1, 1, strategy) });
    bench.push('a', START, 0);
    bench.push('b', START, 1);
    assert_eq!(bench.try_push('c', START, 2), Err(SequenceRefusedReason::QueueFull { limit: 2 }));
    assert_eq!(bench.try_push('a', MIDDLE, 3), Err(SequenceRefusedReason::QueueFull { limit: 2 }));
    assert_eq!(bench.try_push('d', MIDDLE, 4), Err(SequenceRefusedReason::NotStarted));
    assert_eq!(bench.batch(0).0, [(0, 0)]);
    bench.push('a', MIDDLE, 5);
    assert_eq!(bench.queue.drain(), [1, 5]);
    assert_eq!(bench.queue.active(), 1, "what runs is not over");
    bench.complete(0);
    assert_eq!((bench.queue.active(), bench.queue.len()), (0, 0));
}

#[test]
fn extreme_values_are_harmless() {
    let strategy = SequenceStrategy::Direct { max_queue_delay: Duration::MAX, minimum_slot_utilization: 1.0 };
    let policy = SequencePolicy { max_idle: Duration::MAX, ..policy(0, 0, strategy) };
    let mut bench = Bench::new(policy);
    bench.push('a', START, 0);
    assert_eq!(bench.runs(0), [[0]], "one instance and one slot there are");
    assert!(bench.queue.next_expiry().is_some());
    bench.now -= ms(5);
    bench.push('a', END, 1);
    assert_eq!(bench.runs(0), [[1]], "time does not go back");
}
