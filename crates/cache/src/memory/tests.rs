use std::time::Duration;

use adulis_tensor::{DataType, Shape, Tensor};
use proptest::prelude::*;

use super::*;
use crate::entry::{Life, Outcome};
use crate::scope::Scope;
use crate::value::Answer;

fn key(number: u64) -> Key {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Key::from_bytes(bytes)
}

fn answer(bytes: usize) -> Outcome {
    let tensor = Tensor::new(DataType::Uint8, Shape::from([1, bytes]), vec![1; bytes].into()).unwrap();
    Outcome::Answer(Answer { outputs: vec![tensor], ..Answer::default() })
}

fn life(now: Instant, fresh: Option<Duration>, stale: Duration) -> Life {
    let fresh_until = fresh.map(|fresh| now + fresh);
    Life { computed: now, fresh_until, stale_until: fresh_until.map(|until| until + stale) }
}

fn entry(bytes: usize, scope: &Arc<Scope>) -> Stored {
    Arc::new(Entry::owned(answer(bytes), life(Instant::now(), None, Duration::ZERO), scope))
}

#[test]
fn the_bound_holds_at_every_moment_and_everything_is_counted() {
    let (memory, scope) = (MemoryTier::new(1 << 20, 1 << 18), Scope::new("m".into(), 1));
    for number in 0..2000 {
        let bytes = usize::try_from(number * 37 % 5000).unwrap();
        memory.insert(key(number), entry(bytes, &scope));
        assert!(memory.bytes() <= 1 << 20, "after {number}: {}", memory.bytes());
    }
    let counts = scope.read();
    assert_eq!((counts.entries, counts.bytes), (memory.entries(), memory.bytes()));
    assert_eq!(counts.entries + counts.evictions, 2000);
    assert!(counts.entries > 100, "{counts:?}");
}

#[test]
fn what_replaces_an_entry_evicts_nothing() {
    let (memory, scope) = (MemoryTier::new(1 << 20, 1 << 18), Scope::new("m".into(), 1));
    for bytes in [10, 1000, 20] {
        memory.insert(key(1), entry(bytes, &scope));
        assert_eq!((scope.read().entries, scope.read().evictions), (1, 0));
    }
    assert_eq!(memory.bytes(), scope.read().bytes);
}

#[test]
fn what_is_asked_for_again_survives_a_scan() {
    let (memory, scope) = (MemoryTier::new(1 << 20, 1 << 18), Scope::new("m".into(), 1));
    let now = Instant::now();
    for number in 0..20 {
        memory.insert(key(number), entry(1000, &scope));
    }
    for number in 1000..6000 {
        for wanted in 0..20 {
            memory.get(&key(wanted), now);
        }
        memory.insert(key(number), entry(1000, &scope));
    }
    let left = (0..20).filter(|number| memory.get(&key(*number), now).is_some()).count();
    assert_eq!(left, 20);
}

#[test]
fn too_large_is_told_before() {
    let memory = MemoryTier::new(1 << 20, 1 << 18);
    assert!(memory.takes(1 << 18) && !memory.takes((1 << 18) + 1));
    let small = MemoryTier::new(10_000, 1 << 18);
    assert!(small.takes(5000) && !small.takes(10_000));
    assert!(!MemoryTier::new(0, 1 << 18).takes(400));
}

#[test]
fn models_are_purged_by_name() {
    let memory = MemoryTier::new(1 << 20, 1 << 18);
    let scopes = [("a", 1), ("a", 2), ("b", 1)].map(|(name, version)| Scope::new(name.into(), version));
    for (number, scope) in (0..30).zip(scopes.iter().cycle()) {
        memory.insert(key(number), entry(10, scope));
    }
    assert_eq!(memory.purge(Some("a")), 20);
    assert_eq!(scopes.each_ref().map(|scope| scope.read().entries), [0, 0, 10]);
    assert_eq!(memory.purge(None), 10);
    assert_eq!((memory.entries(), memory.bytes(), scopes[2].read().bytes), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn entries_are_fresh_then_stale_then_gone() {
    let (memory, scope) = (MemoryTier::new(1 << 20, 1 << 18), Scope::new("m".into(), 1));
    let start = Instant::now();
    let second = Duration::from_secs(1);
    let times = life(start, Some(2 * second), second);
    memory.insert(key(1), Arc::new(Entry::owned(answer(4), times, &scope)));
    let freshness = |after| memory.get(&key(1), start + after).map(|(_, freshness)| freshness);
    assert_eq!(freshness(second), Some(Freshness::Fresh));
    assert_eq!(freshness(2 * second), Some(Freshness::Stale));
    assert_eq!(freshness(3 * second), None);
}

proptest! {
    #[test]
    fn what_is_kept_has_its_own_memory(rows in 2_usize..8) {
        let whole = Tensor::new(DataType::Uint8, Shape::from([rows, 3]), vec![1; rows * 3].into()).unwrap();
        let row = whole.rows(1..2).unwrap();
        let outcome = Outcome::Answer(Answer { outputs: vec![row.clone()], ..Answer::default() });
        let scope = Scope::new("m".into(), 1);
        let kept = Entry::owned(outcome, life(Instant::now(), None, Duration::ZERO), &scope);
        let kept = &kept.answer().unwrap().outputs[0];
        prop_assert_eq!(kept, &row);
        prop_assert_ne!(kept.data().as_ptr(), row.data().as_ptr());
    }
}
