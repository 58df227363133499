use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;

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
fn a_key_that_changes_its_priority_takes_its_debt_along() {
    let mut queue = FairQueue::new();
    queue.activate('a', 2, 1);
    assert_eq!(queue.next(), Some('a'));
    queue.charge('a', 3 * MS);
    queue.activate('b', 1, 1);
    for _ in 0..10 {
        assert_eq!(queue.next(), Some('b'));
        queue.charge('b', MS);
        queue.activate('b', 1, 1);
    }
    queue.activate('a', 1, 1);
    let order: Vec<char> = (0..4)
        .map(|_| {
            let key = queue.next().unwrap();
            queue.charge(key, MS);
            queue.activate(key, 1, 1);
            key
        })
        .collect();
    // b's last start is the virtual time; a starts three milliseconds after it, b one.
    assert_eq!(order, ['b', 'b', 'a', 'b']);
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

/// The device time that each key gets of a device with several executors, when all keys always have work.
fn share(weights: &[u32], costs_us: &[u64], executors: usize, turns: usize) -> Vec<Duration> {
    let mut queue = FairQueue::new();
    let mut used = vec![Duration::ZERO; weights.len()];
    for (key, weight) in weights.iter().enumerate() {
        queue.activate(key, 1, *weight);
    }
    let mut running = std::collections::BinaryHeap::new();
    let (mut now_us, mut taken) = (0_u64, 0);
    while taken < turns {
        while running.len() < executors
            && let Some(key) = queue.next()
        {
            let cost_us = costs_us[(taken * 7 + key) % costs_us.len()];
            running.push(std::cmp::Reverse((now_us + cost_us, taken, key, cost_us)));
            taken += 1;
        }
        let Some(std::cmp::Reverse((end_us, _, key, cost_us))) = running.pop() else {
            break;
        };
        now_us = end_us;
        let cost = Duration::from_micros(cost_us);
        used[key] += cost;
        queue.charge(key, cost);
        queue.activate(key, 1, weights[key]);
    }
    used
}

/// The queue's ready set is a set: what every sequence of calls must leave intact.
fn consistent(queue: &FairQueue<u8>) -> bool {
    let ready = queue.levels.values().map(|level| level.ready.len()).sum::<usize>();
    let accounts = queue.levels.values().map(|level| level.accounts).sum::<usize>();
    let stamped = queue.accounts.values().filter(|account| account.stamp.is_some()).count();
    let busy = queue.levels.iter().filter(|(_, level)| !level.ready.is_empty());
    let busy: BTreeSet<u32> = busy.map(|(priority, _)| *priority).collect();
    let waiting: BTreeSet<u32> = queue.waiting.iter().map(|(_, priority)| *priority).collect();
    ready == queue.len()
        && stamped == ready
        && accounts == queue.accounts.len()
        && busy == queue.busy
        && busy == waiting
        && queue.waiting.len() == busy.len()
}

#[derive(Debug, Clone)]
enum Call {
    Activate(u8, u32, u32),
    Next,
    Charge(u8, u64),
    Remove(u8),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (0_u8..6, 0_u32..3, 0_u32..5).prop_map(|(key, priority, weight)| Call::Activate(key, priority, weight)),
        3 => Just(Call::Next),
        2 => (0_u8..6, any::<u64>()).prop_map(|(key, cost)| Call::Charge(key, cost)),
        1 => (0_u8..6).prop_map(Call::Remove),
    ]
}

proptest! {
    /// While both have work, the device time of two keys divided by their weights differs by at most the largest cost
    /// divided by each of the weights; with several executors, by as many.
    #[test]
    fn shares_converge_to_weights(
        weights in prop::collection::vec(1_u32..9, 2..6),
        costs_us in prop::collection::vec(1_u64..2_000, 1..8),
    ) {
        let used = share(&weights, &costs_us, 1, 500);
        let largest = *costs_us.iter().max().unwrap() as f64 / 1e6;
        for (one, one_weight) in used.iter().zip(&weights) {
            for (other, other_weight) in used.iter().zip(&weights) {
                let (one_weight, other_weight) = (f64::from(*one_weight), f64::from(*other_weight));
                let apart = one.as_secs_f64() / one_weight - other.as_secs_f64() / other_weight;
                prop_assert!(apart <= largest / one_weight + largest / other_weight + 1e-6);
            }
        }
    }

    /// However many executors there are, each key gets at least what it would as the lightest of all.
    #[test]
    fn nobody_of_the_same_priority_starves(
        weights in prop::collection::vec(1_u32..=4, 2..10),
        cost_us in 1_u64..2_000,
        executors in 1_usize..4,
    ) {
        let used = share(&weights, &[cost_us], executors, 500);
        let least = Duration::from_micros(cost_us) * (500 / (4 * 10) - 1);
        prop_assert!(used.iter().all(|used| *used >= least), "{:?}", used);
    }

    #[test]
    fn priorities_hold_and_nothing_is_lost_or_doubled(calls in prop::collection::vec(call(), 1..200)) {
        let mut queue = FairQueue::new();
        let mut ready: BTreeMap<u8, u32> = BTreeMap::new();
        let mut known = BTreeSet::new();
        for call in calls {
            match call {
                Call::Activate(key, priority, weight) => {
                    queue.activate(key, priority, weight);
                    ready.insert(key, priority);
                    known.insert(key);
                }
                Call::Charge(key, cost) => queue.charge(key, Duration::from_nanos(cost)),
                Call::Remove(key) => {
                    queue.remove(key);
                    ready.remove(&key);
                    known.remove(&key);
                }
                Call::Next => {
                    let highest = ready.values().min().copied();
                    let key = queue.next();
                    prop_assert_eq!(key.and_then(|key| ready.remove(&key)), highest);
                }
            }
            prop_assert_eq!(queue.len(), ready.len());
            prop_assert_eq!(queue.known(), known.len());
            prop_assert!(consistent(&queue));
        }
    }

    /// Keys that come and go: from the moment one is back, it gets what the others get, no more.
    #[test]
    fn idle_keys_do_not_hoard_credit(idle_turns in 1_usize..500, cost_us in 1_u64..2_000) {
        let mut queue = FairQueue::new();
        let cost = Duration::from_micros(cost_us);
        queue.activate('s', 1, 1);
        queue.activate('b', 1, 1);
        prop_assert_eq!(queue.next(), Some('s'));
        queue.charge('s', cost);
        for _ in 0..idle_turns {
            prop_assert_eq!(queue.next(), Some('b'));
            queue.charge('b', cost);
            queue.activate('b', 1, 1);
        }
        queue.activate('s', 1, 1);
        let mut in_a_row = 0;
        while queue.next() == Some('s') {
            queue.charge('s', cost);
            queue.activate('s', 1, 1);
            in_a_row += 1;
            prop_assert!(in_a_row <= 2);
        }
    }

    /// With patience p and n priorities that always have work, each runs at least once in p + n turns.
    #[test]
    fn patience_holds_for_every_priority(patience in 1_u64..10, levels in 2_u32..6) {
        let mut queue = FairQueue::with_patience(NonZeroU64::new(patience).unwrap());
        let mut last = vec![0_u64; levels as usize];
        for priority in 0..levels {
            queue.activate(priority, priority, 1);
        }
        for turn in 1..200_u64 {
            let key = queue.next().unwrap();
            last[key as usize] = turn;
            queue.charge(key, MS);
            queue.activate(key, key, 1);
            let longest = last.iter().map(|last| turn - last).max().unwrap();
            prop_assert!(longest <= patience + u64::from(levels), "{last:?} at {turn}");
        }
    }
}
