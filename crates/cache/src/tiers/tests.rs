use std::time::Duration;

use adulis_types::CacheStatus;

use super::*;
use crate::testing::{FakeTier, Model, answer_to, ask, by_rows, guarded, model_cache, rows};
use crate::{CacheSettings, Found, ModelPolicy};

/// A replica's own memory before the tier that all share.
fn replica(tier: &Arc<FakeTier>, policy: ModelPolicy) -> ModelCache {
    model_cache(CacheSettings { jitter: 0.0, ..CacheSettings::default() }, policy, Some(guarded(tier)))
}

async fn answered(cache: &ModelCache, model: &Model, values: &[u8]) -> Found {
    let found = ask(cache, model, values, None).await.unwrap();
    assert_eq!(found.answer, answer_to(&rows(values)));
    // What is written is written in the background.
    tokio::time::sleep(Duration::from_micros(1)).await;
    found
}

#[tokio::test(start_paused = true)]
async fn what_one_replica_computed_the_others_find() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(1));
    let [first, second] = std::array::from_fn(|_| replica(&tier, by_rows()));
    assert_eq!(answered(&first, &model, &[1, 2]).await.status, CacheStatus::Miss);
    assert_eq!(answered(&second, &model, &[2]).await.status, CacheStatus::Hit);
    let calls = tier.calls.load(Ordering::Relaxed);
    assert_eq!(answered(&second, &model, &[2]).await.status, CacheStatus::Hit);
    assert_eq!(tier.calls.load(Ordering::Relaxed), calls, "it is in memory now");
    let partly = answered(&second, &model, &[3, 1, 2]).await;
    assert_eq!((partly.status, partly.rows_run), (CacheStatus::Miss, 1));
    assert_eq!(*model.runs.lock(), [vec![1, 2], vec![3]]);
    assert!(tier.leases.lock().is_empty(), "leases are given back");
}

#[tokio::test(start_paused = true)]
async fn replicas_that_ask_at_once_run_once() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(300));
    let [first, second] = std::array::from_fn(|_| replica(&tier, by_rows()));
    for values in [&[1][..], &[2, 3]] {
        let before = model.run_count();
        let (one, other) = tokio::join!(answered(&first, &model, values), answered(&second, &model, values));
        assert_eq!((one.status, other.status), (CacheStatus::Miss, CacheStatus::Hit));
        assert_eq!(model.run_count(), before + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_between_the_look_and_the_lease_is_not_computed_again() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(1));
    answered(&replica(&tier, by_rows()), &model, &[1]).await;
    let (key, value) = tier.values.lock().drain().next().unwrap();
    // Another replica is computing it once more, and will be ready at the worst moment.
    let cache = replica(&tier, by_rows());
    let until = Instant::now() + cache.cache.settings.lease;
    tier.leases.lock().insert(key, (Holder([9; 16]), until));
    *tier.finishing.lock() = Some((key, value));
    assert_eq!(answered(&cache, &model, &[1]).await.status, CacheStatus::Hit);
    assert_eq!((model.run_count(), tier.finishing.lock().is_none()), (1, true));
    assert!(tier.leases.lock().is_empty(), "it is given back all the same");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_with_a_lease_is_waited_for_no_longer_than_that() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(1));
    let cache = replica(&tier, by_rows());
    let question = rows(&[1]);
    let question = crate::Question { inputs: &question, rows: Some(1), outputs: None, told: None };
    let generations = cache.cache.generations(&cache.marks).await.unwrap();
    let key = cache.keys.of(&question).unwrap()[0].under(generations);
    let lease = cache.cache.settings.lease;
    tier.leases.lock().insert(key, (Holder([9; 16]), Instant::now() + lease));
    let began = Instant::now();
    answered(&cache, &model, &[1]).await;
    assert!(
        began.elapsed() >= lease && began.elapsed() < lease + PAUSES.max_delay,
        "{:?}",
        began.elapsed()
    );
    // And a request no longer than it has time, which it needs for its run.
    tier.values.lock().clear();
    let cache = replica(&tier, by_rows());
    tier.leases.lock().insert(key, (Holder([9; 16]), Instant::now() + lease));
    let began = Instant::now();
    let deadline = Some(began + Duration::from_millis(100));
    ask(&cache, &model, &[1], deadline).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(150), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_failing_leader_gives_its_lease_back() {
    let tier = Arc::new(FakeTier::default());
    let model = Model { failing: vec![0], ..Model::taking(1) };
    let cache = replica(&tier, by_rows());
    assert!(ask(&cache, &model, &[1], None).await.is_err());
    let began = Instant::now();
    answered(&cache, &model, &[1]).await;
    assert!(began.elapsed() < Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_is_frozen_costs_its_deadline_and_one_that_is_left_alone_nothing() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(0));
    tier.is_frozen.store(true, Ordering::Relaxed);
    let cache = replica(&tier, by_rows());
    let took = async |value: u8| {
        let began = Instant::now();
        answered(&cache, &model, &[value]).await;
        began.elapsed().as_millis()
    };
    let frozen = took(1).await;
    assert!((20..30).contains(&frozen), "{frozen} ms");
    // It knows by now, and says so.
    tier.is_left_alone.store(true, Ordering::Relaxed);
    let shared = cache.cache.shared().unwrap();
    let failures = shared.counts().failures.load(Ordering::Relaxed);
    for value in 2..6 {
        assert!(took(value).await < 20);
    }
    assert!(shared.is_left_alone());
    assert_eq!(
        shared.counts().failures.load(Ordering::Relaxed),
        failures,
        "to be left alone is no failure"
    );
    assert!(shared.counts().skipped.load(Ordering::Relaxed) >= 4);
    tier.is_frozen.store(false, Ordering::Relaxed);
    tier.is_left_alone.store(false, Ordering::Relaxed);
    answered(&cache, &model, &[100]).await;
    assert_eq!(tier.values.lock().len(), 1, "what comes afterwards is written again");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_is_as_if_it_were_not_there() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(1));
    tier.is_broken.store(true, Ordering::Relaxed);
    let cache = replica(&tier, by_rows());
    for value in 0..10 {
        assert_eq!(answered(&cache, &model, &[value, 100]).await.status, CacheStatus::Miss);
    }
    assert_eq!(answered(&cache, &model, &[1, 2]).await.status, CacheStatus::Hit);
}

#[tokio::test(start_paused = true)]
async fn what_a_tier_makes_up_is_not_believed() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(1));
    let policy = ModelPolicy { ttl: Some(Duration::from_secs(3600)), ..by_rows() };
    let first = replica(&tier, policy);
    answered(&first, &model, &[1]).await;
    answered(&first, &model, &[2]).await;
    let (keys, good): (Vec<Key>, Vec<Bytes>) =
        tier.values.lock().iter().map(|(key, (value, _))| (*key, value.clone())).unzip();
    let packing = Packing { compress_from_bytes: None };
    let now = since_1970();
    let wrong = answer_to(&rows(&[1, 2]));
    let mut narrow = answer_to(&rows(&[1]));
    narrow.outputs.pop();
    let old = now.saturating_sub(Duration::from_secs(3601));
    let lies = [
        Bytes::from_static(b"anything"),
        // Another key's.
        good[1].clone(),
        // Two rows, one output too few, too old.
        value::encode(&keys[0], &wrong, now, packing),
        value::encode(&keys[0], &narrow, now, packing),
        value::encode(&keys[0], &answer_to(&rows(&[1])), old, packing),
    ];
    for lie in lies {
        tier.values.lock().insert(keys[0], (lie, Duration::from_secs(1)));
        let second = replica(&tier, policy);
        for value in [1, 2] {
            answered(&second, &model, &[value]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_here_is_not_taken_from_there() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(1));
    let cache = replica(&tier, by_rows());
    answered(&cache, &model, &[1]).await;
    cache.cache.purge(Some("m"));
    assert_eq!(answered(&cache, &model, &[1]).await.status, CacheStatus::Miss);
}

/// Longer than replicas take to see a purge.
const SEEN: Duration = Duration::from_millis(1500);

#[tokio::test(start_paused = true)]
async fn a_purge_reaches_the_other_replicas() {
    for purged in [Some("m"), None] {
        let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(1));
        let [first, second] = std::array::from_fn(|_| replica(&tier, by_rows()));
        for (cache, status) in [
            (&first, CacheStatus::Miss),
            (&second, CacheStatus::Hit),
            (&second, CacheStatus::Hit),
        ] {
            assert_eq!(answered(cache, &model, &[1, 2]).await.status, status);
        }
        assert_eq!(first.cache.purge(purged), 2);
        assert_eq!(answered(&first, &model, &[1]).await.status, CacheStatus::Miss, "here at once");
        tokio::time::sleep(SEEN).await;
        assert_eq!((second.scope().read().entries, first.cache.purges_pending()), (0, 0));
        assert_eq!(
            answered(&second, &model, &[1]).await.status,
            CacheStatus::Hit,
            "what came afterwards is shared"
        );
        assert_eq!(answered(&second, &model, &[2]).await.status, CacheStatus::Miss);
        assert_eq!(*model.runs.lock(), [vec![1, 2], vec![1], vec![2]]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_while_the_tier_is_down_reaches_the_others_when_it_is_back() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(1));
    let [first, second] = std::array::from_fn(|_| replica(&tier, by_rows()));
    answered(&first, &model, &[1]).await;
    answered(&second, &model, &[1]).await;
    tier.is_broken.store(true, Ordering::Relaxed);
    first.cache.purge(Some("m"));
    tokio::time::sleep(SEEN).await;
    assert_eq!(first.cache.purges_pending(), 1);
    assert_eq!(answered(&first, &model, &[1]).await.status, CacheStatus::Miss);
    assert_eq!(answered(&second, &model, &[1]).await.status, CacheStatus::Hit, "it cannot know");
    tier.is_broken.store(false, Ordering::Relaxed);
    tokio::time::sleep(SEEN).await;
    assert_eq!((second.scope().read().entries, first.cache.purges_pending()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_loses_everything_purges_nothing() {
    let (tier, model) = (Arc::new(FakeTier::default()), Model::taking(1));
    let [first, second] = std::array::from_fn(|_| replica(&tier, by_rows()));
    answered(&first, &model, &[1]).await;
    answered(&second, &model, &[1]).await;
    let marks = tier.marks.lock().clone();
    tier.marks.lock().clear();
    tier.values.lock().clear();
    tokio::time::sleep(SEEN).await;
    assert_eq!(*tier.marks.lock(), marks, "they are written again");
    for cache in [&first, &second] {
        assert_eq!(answered(cache, &model, &[1]).await.status, CacheStatus::Hit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_one_model_is_none_of_another() {
    let tier = Arc::new(FakeTier::default());
    let cache = replica(&tier, by_rows());
    let other = cache.cache.purging.marks(&"other".into());
    let of_other = cache.cache.generations(&other).await.unwrap();
    let own = cache.cache.generations(&cache.marks).await.unwrap();
    cache.cache.purge(Some("m"));
    assert_eq!(cache.cache.generations(&other).await, Some(of_other));
    assert_ne!(cache.cache.generations(&cache.marks).await, Some(own));
    let key = Key::from_bytes([1; 32]);
    assert_ne!(key.under(own), key.under(of_other));
}

#[test]
fn holders_are_unlike_each_other() {
    assert_ne!(Holder::unique(), Holder::unique());
}
