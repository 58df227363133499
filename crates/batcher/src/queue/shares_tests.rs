//! Flows that share a queue.

use std::collections::HashMap;
use std::time::Instant;

use proptest::prelude::*;

use super::tests::{offer, payloads, policy};
use super::*;
use crate::{Flow, Position, ShapeClass};

/// A request of one row whose payload is its flow.
fn of(key: u32, weight: u32) -> Offer<u32> {
    Offer { flow: Some(Flow { key: key.into(), weight }), ..offer(key, 1) }
}

fn push(queue: &mut BatchQueue<u32>, offers: impl IntoIterator<Item = Offer<u32>>, now: Instant) {
    for offer in offers {
        assert!(queue.push(offer, now).is_ok());
    }
}

/// Serves so many batches, and counts what each flow had of them.
fn serve(queue: &mut BatchQueue<u32>, batches: usize, now: Instant) -> HashMap<u32, usize> {
    let mut served = HashMap::new();
    for _ in 0..batches {
        for key in payloads(queue.poll(now)) {
            *served.entry(key).or_default() += 1;
        }
    }
    served
}

#[test]
fn a_greedy_flow_gets_no_more_than_its_share() {
    let (mut queue, now) = (BatchQueue::new(policy(1, 0)), Instant::now());
    push(&mut queue, (0..1000).map(|_| of(1, 1)), now);
    push(&mut queue, (0..10).map(|_| of(2, 1)), now);
    assert_eq!(serve(&mut queue, 20, now), HashMap::from([(1, 10), (2, 10)]));
    // The other one is done: there is nobody to share with.
    assert_eq!(serve(&mut queue, 20, now), HashMap::from([(1, 20)]));
    // One that comes back waits for one request of the other, and is not made up to for what it did not use.
    push(&mut queue, (0..10).map(|_| of(2, 1)), now);
    assert_eq!(serve(&mut queue, 2, now), HashMap::from([(1, 1), (2, 1)]));
    assert_eq!(serve(&mut queue, 8, now), HashMap::from([(1, 4), (2, 4)]));
}

#[test]
fn shares_are_in_proportion_to_weights_and_requests_of_nobody_are_a_flow() {
    let (mut queue, now) = (BatchQueue::new(policy(1, 0)), Instant::now());
    push(&mut queue, (0..400).map(|_| of(1, 1)), now);
    push(&mut queue, (0..400).map(|_| of(3, 3)), now);
    push(&mut queue, (0..400).map(|_| offer(0, 1)), now);
    assert_eq!(serve(&mut queue, 500, now), HashMap::from([(0, 100), (1, 100), (3, 300)]));
}

#[test]
fn batches_are_shared_too() {
    let (mut queue, now) = (BatchQueue::new(policy(8, 0)), Instant::now());
    push(&mut queue, (0..100).map(|_| of(1, 1)), now);
    push(&mut queue, (0..100).map(|_| of(2, 1)), now);
    for _ in 0..5 {
        assert_eq!(serve(&mut queue, 1, now), HashMap::from([(1, 4), (2, 4)]));
    }
}

#[test]
fn what_goes_from_further_behind_makes_nobody_wait_who_comes_then() {
    let (mut queue, now) = (BatchQueue::new(policy(4, 0)), Instant::now());
    // One of ten is of another shape, and the first is: its batch is of the first, the eleventh, and so on.
    let shaped =
        |number: u64| Offer { class: ShapeClass::new([u64::from(number.is_multiple_of(10))]), ..of(1, 1) };
    push(&mut queue, (0..40).map(shaped), now);
    assert_eq!(serve(&mut queue, 1, now), HashMap::from([(1, 4)]));
    push(&mut queue, [of(2, 1)], now);
    assert_eq!(serve(&mut queue, 1, now), HashMap::from([(2, 1)]));
}

#[test]
fn priority_goes_before_shares() {
    let (mut queue, now) =
        (BatchQueue::new(BatchPolicy { priority_levels: 2, ..policy(1, 0) }), Instant::now());
    let at = |key, priority| Offer { priority, ..of(key, 1) };
    push(&mut queue, [at(1, 2), at(1, 1), at(1, 1), at(2, 2), at(2, 1)], now);
    assert_eq!(serve(&mut queue, 3, now), HashMap::from([(1, 2), (2, 1)]));
    assert_eq!(serve(&mut queue, 2, now), HashMap::from([(1, 1), (2, 1)]));
}

#[test]
fn what_came_before_flows_were_told_apart_is_served_first() {
    let (mut queue, now) = (BatchQueue::new(policy(1, 0)), Instant::now());
    push(&mut queue, [offer(7, 1), offer(8, 1), of(1, 1), of(2, 1)], now);
    let order: Vec<u32> = (0..4).flat_map(|_| payloads(queue.poll(now))).collect();
    assert_eq!(order, [7, 8, 1, 2]);
}

#[test]
fn a_full_queue_takes_from_the_flow_that_has_most() {
    let limited = BatchPolicy { max_queued_rows: 4, ..policy(1, 0) };
    let (mut queue, now) = (BatchQueue::new(limited), Instant::now());
    push(&mut queue, [of(1, 1), of(1, 1), of(1, 1), of(1, 1)], now);
    let mut displaced = Vec::new();
    for _ in 0..2 {
        assert!(queue.push_displacing(of(2, 1), now, &mut displaced).is_ok());
    }
    assert_eq!(displaced, [1, 1]);
    // Both have their half.
    for key in [1, 2] {
        assert!(queue.push_displacing(of(key, 1), now, &mut displaced).is_err());
    }
    assert_eq!((displaced.len(), queue.rows()), (2, 4));
}

#[test]
fn a_request_of_a_modest_flow_stands_near_the_front() {
    let (mut queue, now) = (BatchQueue::new(policy(1, 0)), Instant::now());
    push(&mut queue, (0..100).map(|_| of(1, 1)), now);
    let position = |key, weight| {
        let Position { rows_ahead, requests_ahead, .. } = queue.position(1, 0, Some(Flow { key, weight }));
        (rows_ahead, requests_ahead)
    };
    assert_eq!(position(1, 1), (100, 100));
    assert_eq!(position(2, 1), (1, 1));
}

#[test]
fn flows_that_are_gone_are_forgotten() {
    let (mut queue, now) = (BatchQueue::new(policy(1, 0)), Instant::now());
    push(&mut queue, [of(0, 1)], now);
    for key in 1..10_000 {
        push(&mut queue, [of(key, 1)], now);
        serve(&mut queue, 1, now);
        assert!(queue.shares.accounts() < 200, "{} accounts", queue.shares.accounts());
    }
    serve(&mut queue, 1, now);
    assert_eq!(queue.shares.accounts(), 0);
}

proptest! {
    /// Source of the bound: the paper on start-time fair queueing, theorem 1.
    #[test]
    fn two_flows_with_work_differ_by_no_more_than_a_request_of_each(
        weights in (1_u32..5, 1_u32..5),
        rows in prop::collection::vec((any::<bool>(), 1_usize..6), 200),
        served in 1_usize..40,
    ) {
        let (mut queue, now) = (BatchQueue::new(policy(0, 0)), Instant::now());
        for (first, rows) in rows {
            let (key, weight) = if first { (1, weights.0) } else { (2, weights.1) };
            push(&mut queue, [Offer { rows, ..of(key, weight) }], now);
        }
        let mut got = [0.0, 0.0];
        for _ in 0..served {
            let Decision::Dispatch(batch) = queue.poll(now) else {
                break;
            };
            for member in batch.members {
                let (index, weight) = if member.payload == 1 { (0, weights.0) } else { (1, weights.1) };
                got[index] += member.rows as f64 / f64::from(weight);
            }
        }
        let bound = 5.0 / f64::from(weights.0) + 5.0 / f64::from(weights.1);
        prop_assert!((got[0] - got[1]).abs() <= bound + 1e-6, "{got:?}");
    }

    #[test]
    fn whatever_happens_nothing_is_lost_and_flows_keep_their_order(
        steps in prop::collection::vec((0_u8..8, 0_u32..5, 1_usize..4), 1..200),
        max_batch_size in 1_usize..9,
    ) {
        let limited = BatchPolicy { max_queued_rows: 60, priority_levels: 2, ..policy(max_batch_size, 0) };
        let (mut queue, now) = (BatchQueue::new(limited), Instant::now());
        // Payloads are serial numbers; of each, its flow and level while it waits.
        let mut waiting: HashMap<u32, (u32, u64)> = HashMap::new();
        let mut tickets = Vec::new();
        let mut next = 0_u32;
        for (step, key, rows) in steps {
            match step {
                0..5 => {
                    let priority = u64::from(step % 2) + 1;
                    let flow = (key > 0).then_some(Flow { key: key.into(), weight: key });
                    let rows = rows.min(max_batch_size);
                    let offered = Offer { priority, flow, ..offer(next, rows) };
                    let mut displaced = Vec::new();
                    if let Ok(ticket) = queue.push_displacing(offered, now, &mut displaced) {
                        waiting.insert(next, (key, priority));
                        tickets.push((ticket, next));
                    }
                    for payload in displaced {
                        prop_assert!(waiting.remove(&payload).is_some());
                    }
                    next += 1;
                }
                5 => {
                    if let Some((ticket, payload)) = tickets.get(key as usize).copied() {
                        prop_assert_eq!(queue.cancel(ticket).is_some(), waiting.remove(&payload).is_some());
                    }
                }
                _ => {
                    let batch = payloads(queue.poll(now));
                    prop_assert_eq!(batch.is_empty(), waiting.is_empty());
                    for payload in batch {
                        let of = waiting.remove(&payload);
                        prop_assert!(of.is_some());
                        let earlier = waiting.iter().any(|(other, whose)| *other < payload && Some(*whose) == of);
                        prop_assert!(!earlier, "{} was served before an earlier one of its flow", payload);
                    }
                }
            }
            prop_assert_eq!(queue.len(), waiting.len());
        }
        prop_assert_eq!(queue.drain().len(), waiting.len());
        prop_assert_eq!(queue.rows(), 0);
        prop_assert_eq!(queue.shares.accounts(), 0);
    }
}
