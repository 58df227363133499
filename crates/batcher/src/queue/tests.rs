use std::time::{Duration, Instant};

use super::*;
use crate::{QueuePolicy, ShapeClass};

pub(super) fn offer(payload: u32, rows: usize) -> Offer<u32> {
    Offer {
        rows,
        class: ShapeClass::default(),
        priority: 0,
        timeout: None,
        deadline: None,
        flow: None,
        payload,
    }
}

fn classed(payload: u32, rows: usize, class: u64) -> Offer<u32> {
    Offer { class: ShapeClass::new([class]), ..offer(payload, rows) }
}

pub(super) fn policy(max_batch_size: usize, delay_ms: u64) -> BatchPolicy {
    BatchPolicy { max_batch_size, max_queue_delay: ms(delay_ms), ..BatchPolicy::default() }
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn payloads(decision: Decision<u32>) -> Vec<u32> {
    match decision {
        Decision::Dispatch(batch) => batch.members.into_iter().map(|member| member.payload).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn wait(decision: &Decision<u32>) -> Option<Instant> {
    match decision {
        Decision::WaitUntil(until) => Some(*until),
        _ => None,
    }
}

#[test]
fn what_waits_goes_at_once_without_a_delay() {
    let (mut queue, now) = (BatchQueue::new(policy(8, 0)), Instant::now());
    assert!(matches!(queue.poll(now), Decision::Idle));
    for payload in 0..3 {
        queue.push(offer(payload, 3), now).unwrap();
    }
    assert_eq!((queue.len(), queue.rows()), (3, 9));
    assert_eq!(queue.oldest(), Some(now));
    let Decision::Dispatch(batch) = queue.poll(now) else {
        panic!("no batch");
    };
    assert_eq!((batch.rows, batch.sequence, batch.members.len()), (6, 0, 2));
    let Decision::Dispatch(batch) = queue.poll(now) else {
        panic!("no batch");
    };
    assert_eq!((batch.rows, batch.sequence, batch.members.len()), (3, 1, 1));
    assert!(queue.is_empty() && queue.rows() == 0 && queue.oldest().is_none());
}

#[test]
fn nothing_is_merged_at_a_batch_size_of_one() {
    let (mut queue, now) = (BatchQueue::new(policy(1, 5)), Instant::now());
    queue.push(offer(0, 100), now).unwrap();
    queue.push(offer(1, 1), now).unwrap();
    assert_eq!(payloads(queue.poll(now)), [0]);
    assert_eq!(payloads(queue.poll(now)), [1]);
}

#[test]
fn a_batch_waits_for_company_no_longer_than_the_delay() {
    let (mut queue, now) = (BatchQueue::new(policy(4, 5)), Instant::now());
    queue.push(offer(0, 1), now).unwrap();
    assert_eq!(wait(&queue.poll(now)), Some(now + ms(5)));
    queue.push(offer(1, 2), now + ms(3)).unwrap();
    assert_eq!(wait(&queue.poll(now + ms(3))), Some(now + ms(5)));
    assert_eq!(payloads(queue.poll(now + ms(5))), [0, 1]);
    queue.push(offer(2, 3), now + ms(6)).unwrap();
    queue.push(offer(3, 1), now + ms(6)).unwrap();
    assert_eq!(payloads(queue.poll(now + ms(6))), [2, 3], "full: no wait");
    queue.push(offer(4, 3), now + ms(7)).unwrap();
    queue.push(offer(5, 2), now + ms(7)).unwrap();
    assert_eq!(payloads(queue.poll(now + ms(7))), [4], "can't grow: no wait");
}

#[test]
fn the_largest_preferred_size_is_made_exactly() {
    let preferred_batch_sizes = vec![6, 0, 2, 99];
    let policy = BatchPolicy { preferred_batch_sizes, ..policy(8, 5) };
    let (mut queue, now) = (BatchQueue::new(policy), Instant::now());
    queue.push(offer(0, 1), now).unwrap();
    assert_eq!(wait(&queue.poll(now)), Some(now + ms(5)));
    for payload in 1..7 {
        queue.push(offer(payload, 1), now).unwrap();
    }
    assert_eq!(payloads(queue.poll(now)), [0, 1, 2, 3, 4, 5]);
    queue.push(offer(7, 2), now).unwrap();
    assert_eq!(wait(&queue.poll(now)), Some(now + ms(5)), "1 + 2 is not preferred");
    queue.push(offer(8, 1), now).unwrap();
    queue.push(offer(9, 2), now).unwrap();
    assert_eq!(payloads(queue.poll(now)), [6, 7, 8, 9]);
    for payload in 10..13 {
        queue.push(offer(payload, 1), now).unwrap();
    }
    assert_eq!(payloads(queue.poll(now + ms(5))), [10, 11, 12], "late: all that fits");
}

#[test]
fn other_classes_are_stepped_over_and_then_come_first() {
    let (mut queue, now) = (BatchQueue::new(policy(3, 0)), Instant::now());
    for (payload, class) in [(0, 1), (1, 2), (2, 1), (3, 1), (4, 1), (5, 2)] {
        queue.push(classed(payload, 1, class), now).unwrap();
    }
    assert_eq!(payloads(queue.poll(now)), [0, 2, 3]);
    assert_eq!(payloads(queue.poll(now)), [1, 5]);
    assert_eq!(payloads(queue.poll(now)), [4]);
}

#[test]
fn a_full_or_late_class_goes_while_the_head_waits() {
    let two_levels = BatchPolicy { priority_levels: 2, ..policy(2, 5) };
    let (mut queue, now) = (BatchQueue::new(two_levels), Instant::now());
    queue.push(classed(0, 1, 1), now).unwrap();
    queue.push(classed(1, 1, 2), now).unwrap();
    queue.push(classed(2, 1, 2), now).unwrap();
    assert_eq!(payloads(queue.poll(now)), [1, 2], "full");
    let low = Offer { priority: 2, ..classed(3, 1, 3) };
    assert_eq!(payloads(queue.poll(now + ms(5))), [0]);
    queue.push(low, now + ms(6)).unwrap();
    queue.push(classed(4, 1, 1), now + ms(10)).unwrap();
    assert_eq!(wait(&queue.poll(now + ms(10))), Some(now + ms(11)));
    assert_eq!(payloads(queue.poll(now + ms(11))), [3], "late");
    assert_eq!(payloads(queue.poll(now + ms(15))), [4]);
}

#[test]
fn higher_levels_go_first() {
    let levels = BatchPolicy { priority_levels: 3, ..policy(2, 0) };
    let (mut queue, now) = (BatchQueue::new(levels), Instant::now());
    for (payload, priority) in [(0, 9), (1, 0), (2, 1), (3, 2), (4, 1)] {
        let offer = offer(payload, 1);
        queue.push(Offer { priority, ..offer }, now).unwrap();
    }
    assert_eq!(payloads(queue.poll(now)), [2, 4]);
    assert_eq!(payloads(queue.poll(now)), [1, 3]);
    assert_eq!(payloads(queue.poll(now)), [0]);
}

#[test]
fn limits_refuse_and_give_back() {
    let levels = BatchPolicy {
        priority_levels: 2,
        default_priority: 1,
        max_queued_rows: 8,
        default_queue_policy: QueuePolicy { max_queue_size: 2, ..QueuePolicy::default() },
        ..policy(4, 5)
    };
    let (mut queue, now) = (BatchQueue::new(levels), Instant::now());
    let refused = queue.push(offer(7, 5), now).unwrap_err();
    assert_eq!(refused.payload, 7);
    assert_eq!(refused.reason, RefusedReason::TooManyRows { rows: 5, max: 4 });
    assert_eq!(refused.to_string(), "the request has 5 rows; the most in one batch is 4");
    let ticket = queue.push(offer(0, 0), now).unwrap();
    queue.push(offer(1, 3), now).unwrap();
    assert_eq!(queue.rows(), 4, "an empty request counts as one row");
    let refused = queue.push(offer(2, 1), now).unwrap_err();
    let what = QueueLimit::Requests;
    assert_eq!(refused.reason, RefusedReason::QueueFull { limit: 2, what });
    assert_eq!(refused.to_string(), "the queue is full: its limit is 2 requests");
    let low = |payload, rows| Offer { priority: 2, ..offer(payload, rows) };
    queue.push(low(3, 4), now).unwrap();
    let refused = queue.push(low(4, 1), now).unwrap_err();
    let what = QueueLimit::Rows;
    assert_eq!(refused.reason, RefusedReason::QueueFull { limit: 8, what });
    assert_eq!(queue.cancel(ticket), Some(0));
    assert_eq!(queue.cancel(ticket), None);
    queue.push(low(5, 1), now).unwrap();
    assert_eq!(queue.drain(), [1, 3, 5]);
    assert_eq!((queue.len(), queue.rows()), (0, 0));
}

#[test]
fn timeouts_reject_or_delay_and_deadlines_always_expire() {
    let delay = QueuePolicy {
        timeout_action: TimeoutAction::Delay,
        default_timeout: Some(ms(10)),
        allow_timeout_override: true,
        max_queue_size: 3,
    };
    let levels = BatchPolicy {
        priority_levels: 2,
        default_priority: 2,
        priority_queue_policy: [(1, delay)].into(),
        default_queue_policy: QueuePolicy { default_timeout: Some(ms(20)), ..QueuePolicy::default() },
        ..policy(1, 0)
    };
    let (mut queue, now) = (BatchQueue::new(levels), Instant::now());
    let high = |payload, timeout, deadline| Offer {
        priority: 1,
        timeout: Some(timeout),
        deadline,
        ..offer(payload, 1)
    };
    queue.push(high(0, ms(99), None), now).unwrap();
    queue.push(high(1, ms(5), Some(now + ms(15))), now).unwrap();
    queue.push(high(2, ms(99), Some(now + ms(2))), now).unwrap();
    queue.push(offer(3, 1), now).unwrap();
    queue.push(offer(4, 1), now + ms(10)).unwrap();
    let mut expired = Vec::new();
    assert_eq!(queue.next_expiry(), Some(now + ms(2)));
    queue.expire(now + ms(2), &mut expired);
    assert_eq!(expired, [2], "its deadline is hard");
    queue.expire(now + ms(12), &mut expired);
    assert_eq!((expired.as_slice(), queue.len()), ([2].as_slice(), 4));
    assert_eq!(queue.next_expiry(), Some(now + ms(15)));
    queue.push(high(5, ms(99), None), now + ms(12)).unwrap();
    assert!(queue.push(high(6, ms(99), None), now + ms(12)).is_err(), "delayed ones count");
    assert_eq!(payloads(queue.poll(now + ms(12))), [5]);
    queue.expire(now + ms(20), &mut expired);
    assert_eq!(expired, [2, 1, 3]);
    assert_eq!(payloads(queue.poll(now + ms(20))), [4], "delayed ones go last");
    assert_eq!(payloads(queue.poll(now + ms(20))), [0]);
    assert_eq!(queue.next_expiry(), None);
}

#[test]
fn tickets_of_a_used_slot_do_not_cancel_its_next_tenant() {
    let (mut queue, now) = (BatchQueue::new(policy(4, 0)), Instant::now());
    let first = queue.push(offer(0, 1), now).unwrap();
    assert_eq!(payloads(queue.poll(now)), [0]);
    queue.push(offer(1, 1), now).unwrap();
    assert_eq!(queue.cancel(first), None);
    assert_eq!(queue.len(), 1);
}

#[test]
fn memory_follows_what_waits() {
    let unbounded = BatchPolicy { max_queued_rows: 0, ..policy(4, 0) };
    let (mut queue, now) = (BatchQueue::new(unbounded), Instant::now());
    queue.push(Offer { deadline: Some(now + ms(1)), ..offer(0, 1) }, now).unwrap();
    for payload in 0..5_000 {
        let far = Some(now + ms(1_000_000));
        let ticket = queue.push(Offer { deadline: far, ..classed(payload, 1, payload.into()) }, now).unwrap();
        assert_eq!(queue.cancel(ticket), Some(payload));
        assert!(queue.expiry.len() <= 70 && queue.classes.len() <= 34);
    }
    let far: Vec<_> = (0..5_000)
        .map(|payload| queue.push(classed(payload, 1, payload.into()), now).unwrap())
        .collect();
    assert!(queue.classes.len() >= 5_000);
    for ticket in far {
        queue.cancel(ticket);
    }
    assert!(queue.classes.len() <= 34);
    assert_eq!(queue.drain(), [0]);
    assert_eq!(queue.expiry.len(), 0);
}

#[test]
fn extreme_values_are_harmless() {
    let limitless = BatchPolicy {
        max_queue_delay: Duration::MAX,
        max_queued_rows: 0,
        default_queue_policy: QueuePolicy { allow_timeout_override: true, ..QueuePolicy::default() },
        ..policy(usize::MAX, 0)
    };
    let (mut queue, now) = (BatchQueue::new(limitless), Instant::now());
    let timeout = Some(Duration::MAX);
    queue.push(Offer { timeout, ..offer(0, usize::MAX - 1) }, now).unwrap();
    queue.push(offer(1, 1), now).unwrap();
    let refused = queue.push(offer(2, 1), now).unwrap_err();
    assert!(matches!(refused.reason, RefusedReason::QueueFull { limit: usize::MAX, .. }));
    assert_eq!(queue.next_expiry(), None);
    assert_eq!(payloads(queue.poll(now)), [0, 1]);
    queue.push(offer(3, 1), now).unwrap();
    assert_eq!(wait(&queue.poll(now)), Some(now + ms(3_600_000)));
}

#[test]
fn time_does_not_go_back() {
    let (mut queue, now) = (BatchQueue::new(policy(4, 5)), Instant::now());
    queue.push(offer(0, 1), now + ms(3)).unwrap();
    queue.push(offer(1, 1), now).unwrap();
    assert_eq!(queue.oldest(), Some(now + ms(3)));
    assert_eq!(wait(&queue.poll(now)), Some(now + ms(8)));
}
