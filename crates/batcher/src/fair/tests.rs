use std::num::NonZeroU64;
use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn ready_keys_come_once_in_order_of_priority_and_arrival() {
    let mut queue = FairQueue::new();
    assert_eq!(queue.next(), None);
    for (key, priority) in [('a', 2), ('b', 1), ('c', 1), ('b', 1)] {
        queue.activate(key, priority, 1);
    }
    assert_eq!(queue.len(), 3);
    let order: Vec<char> = std::iter::from_fn(|| queue.next()).collect();
    assert_eq!(order, ['b', 'c', 'a']);
    assert!(queue.is_empty());
}

#[test]
fn who_was_idle_gets_no_credit_and_who_used_much_keeps_its_debt() {
    let mut queue = FairQueue::new();
    queue.activate('a', 1, 1);
    for _ in 0..100 {
        assert_eq!(queue.next(), Some('a'));
        queue.charge('a', MS);
        queue.activate('a', 1, 1);
    }
    queue.activate('b', 1, 1);
    let mut turns = [0, 0];
    for _ in 0..20 {
        let key = queue.next().unwrap();
        turns[usize::from(key == 'b')] += 1;
        queue.charge(key, MS);
        queue.activate(key, 1, 1);
    }
    assert_eq!(turns, [10, 10]);
}

#[test]
fn a_priority_may_change_and_a_removed_key_is_gone() {
    let mut queue = FairQueue::new();
    queue.activate('a', 2, 1);
    queue.activate('b', 1, 1);
    queue.activate('a', 0, 1);
    assert_eq!((queue.len(), queue.known()), (2, 2));
    assert_eq!(queue.next(), Some('a'));
    queue.remove('a');
    queue.charge('a', MS);
    queue.remove('b');
    assert_eq!((queue.len(), queue.known(), queue.next()), (0, 0, None));
    assert!(queue.levels.is_empty() && queue.waiting.is_empty() && queue.busy.is_empty());
}

#[test]
fn patience_bounds_how_long_a_priority_is_passed_over() {
    let mut queue = FairQueue::with_patience(NonZeroU64::new(3).unwrap());
    queue.activate('l', 2, 1);
    queue.activate('h', 1, 1);
    let mut order = String::new();
    for _ in 0..12 {
        let key = queue.next().unwrap();
        order.push(key);
        queue.charge(key, MS);
        queue.activate(key, if key == 'l' { 2 } else { 1 }, 1);
    }
    assert_eq!(order, "hhhlhhhlhhhl");
}
