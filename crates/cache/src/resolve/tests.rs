use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use tokio::task::JoinSet;

use super::*;
use crate::testing::{Fault, Model, answer_to, ask, by_rows, model_cache, rows};
use crate::{CacheSettings, Look, ModelPolicy, Question};

fn cached(policy: ModelPolicy) -> ModelCache {
    model_cache(CacheSettings { jitter: 0.0, ..CacheSettings::default() }, policy, None)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn only_rows_that_are_not_known_run_and_the_answer_is_in_order() {
    let (cache, model) = (cached(by_rows()), Model::taking(1));
    let first = ask(&cache, &model, &[1, 2, 3], None).await.unwrap();
    assert_eq!((first.status, first.rows_run), (CacheStatus::Miss, 3));
    let second = ask(&cache, &model, &[4, 3, 1, 5, 4], None).await.unwrap();
    assert_eq!(second.answer, answer_to(&rows(&[4, 3, 1, 5, 4])));
    assert_eq!(*model.runs.lock(), [vec![1, 2, 3], vec![4, 5]], "equal rows run once");
    assert_eq!((second.status, second.rows_run), (CacheStatus::Miss, 3));
    let third = ask(&cache, &model, &[5, 5, 2], None).await.unwrap();
    assert_eq!((third.status, third.rows_run), (CacheStatus::Hit, 0));
    assert_eq!(third.answer, answer_to(&rows(&[5, 5, 2])));
    let counts = cache.scope().read();
    assert_eq!((counts.hits, counts.misses, counts.entries), (1, 2, 5));
    assert_eq!((counts.rows_found, counts.rows_run), (2 + 3, 3 + 3));
}

#[tokio::test(start_paused = true)]
async fn a_known_row_is_given_without_a_copy() {
    let (cache, model) = (cached(by_rows()), Model::taking(1));
    let address = |found: &Found| found.answer.outputs[0].data().as_ptr();
    ask(&cache, &model, &[1, 2], None).await.unwrap();
    let (first, second) = (
        ask(&cache, &model, &[2], None).await.unwrap(),
        ask(&cache, &model, &[2], None).await.unwrap(),
    );
    assert_eq!(address(&first), address(&second));
}

#[tokio::test(start_paused = true)]
async fn whole_requests_are_looked_up_whole() {
    let (cache, model) = (cached(ModelPolicy::default()), Model::taking(1));
    for (values, status) in [
        (&[1, 2][..], CacheStatus::Miss),
        (&[1, 2], CacheStatus::Hit),
        (&[2, 1], CacheStatus::Miss),
        (&[1], CacheStatus::Miss),
    ] {
        let found = ask(&cache, &model, values, None).await.unwrap();
        assert_eq!((found.status, found.answer), (status, answer_to(&rows(values))), "{values:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_too_many_rows_are_looked_up_whole() {
    let settings = CacheSettings { max_rows: 2, ..CacheSettings::default() };
    let (cache, model) = (model_cache(settings, by_rows(), None), Model::taking(1));
    for _ in 0..2 {
        ask(&cache, &model, &[1, 2, 3], None).await.unwrap();
    }
    ask(&cache, &model, &[1, 2], None).await.unwrap();
    assert_eq!(*model.runs.lock(), [vec![1, 2, 3], vec![1, 2]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_at_once_run_once() {
    let (cache, model) = (Arc::new(cached(by_rows())), Arc::new(Model::taking(50)));
    let mut asking = JoinSet::new();
    for _ in 0..1000 {
        let (cache, model) = (Arc::clone(&cache), Arc::clone(&model));
        asking.spawn(async move { ask(&cache, &model, &[7, 8], None).await.unwrap().answer });
    }
    for answer in asking.join_all().await {
        assert_eq!(answer, answer_to(&rows(&[7, 8])));
    }
    assert_eq!(*model.runs.lock(), [vec![7, 8]]);
    let counts = cache.scope().read();
    assert_eq!((counts.misses, counts.hits + counts.coalesced), (1, 999));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_goes_fails_or_panics_lets_the_next_one_lead() {
    let faults = [
        Model { failing: vec![0], ..Model::taking(10) },
        Model { panicking: vec![0], ..Model::taking(10) },
        Model::taking(10),
    ];
    for (case, model) in faults.into_iter().enumerate() {
        let (cache, model) = (Arc::new(cached(by_rows())), Arc::new(model));
        let mut asking = Vec::new();
        for _ in 0..5 {
            let (cache, model) = (Arc::clone(&cache), Arc::clone(&model));
            asking.push(tokio::spawn(async move {
                ask(&cache, &model, &[1], None).await.map(|found| found.answer)
            }));
            tokio::task::yield_now().await;
        }
        if case == 2 {
            asking[0].abort();
        }
        let leader = asking.remove(0).await;
        match case {
            0 => assert_eq!(leader.unwrap(), Err(Fault::Model)),
            1 => assert!(leader.unwrap_err().is_panic()),
            _ => assert!(leader.unwrap_err().is_cancelled()),
        }
        for follower in asking {
            assert_eq!(follower.await.unwrap(), Ok(answer_to(&rows(&[1]))));
        }
        assert_eq!(model.run_count(), 2, "case {case}");
        assert_eq!(cache.cache.flights.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_waits_no_longer_than_its_own_time() {
    let (cache, model) = (cached(by_rows()), Model::taking(100));
    let leader = ask(&cache, &model, &[1], None);
    let follower = async {
        tokio::task::yield_now().await;
        ask(&cache, &model, &[1], Some(Instant::now() + Duration::from_millis(20))).await.err()
    };
    let (led, followed) = tokio::join!(leader, follower);
    assert_eq!((led.unwrap().status, followed), (CacheStatus::Miss, Some(Fault::Late)));
}

#[tokio::test(start_paused = true)]
async fn failures_are_remembered_only_where_that_is_wanted() {
    let model = || Model { failing: (0..10).collect(), ..Model::taking(1) };
    let (cache, never) = (cached(by_rows()), model());
    for _ in 0..2 {
        assert_eq!(ask(&cache, &never, &[1], None).await.err(), Some(Fault::Model));
    }
    assert_eq!(never.run_count(), 2);
    let (cache, once) = (cached(ModelPolicy { negative_ttl: SECOND, ..by_rows() }), model());
    assert_eq!(ask(&cache, &once, &[1], None).await.err(), Some(Fault::Model));
    assert_eq!(ask(&cache, &once, &[1], None).await.err(), Some(Fault::Recalled));
    assert_eq!(ask(&cache, &once, &[1, 2], None).await.err(), Some(Fault::Model));
    tokio::time::sleep(SECOND).await;
    assert_eq!(ask(&cache, &once, &[1], None).await.err(), Some(Fault::Model));
}

#[tokio::test(start_paused = true)]
async fn answers_are_given_until_their_time_is_over() {
    let (cache, model) = (cached(ModelPolicy { ttl: Some(SECOND), ..by_rows() }), Model::taking(1));
    ask(&cache, &model, &[1], None).await.unwrap();
    tokio::time::sleep(SECOND / 2).await;
    let found = ask(&cache, &model, &[1], None).await.unwrap();
    assert_eq!((found.status, found.age), (CacheStatus::Hit, SECOND / 2));
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(ask(&cache, &model, &[1], None).await.unwrap().status, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn times_to_live_are_shortened_each_by_another_part() {
    let settings = CacheSettings { jitter: 0.5, ..CacheSettings::default() };
    let cache = model_cache(settings, ModelPolicy { ttl: Some(10 * SECOND), ..by_rows() }, None);
    let model = Model::taking(0);
    let values: Vec<u8> = (0..100).collect();
    ask(&cache, &model, &values, None).await.unwrap();
    let mut left = Vec::new();
    for _ in 0..11 {
        let now = Instant::now();
        let known = values.iter().filter(|value| {
            let inputs = rows(&[**value]);
            let question = Question { inputs: &inputs, rows: Some(1), outputs: None, told: None };
            let key = cache.keys.of(&question).unwrap()[0];
            cache.cache.memory.get(&key, now).is_some()
        });
        left.push(known.count());
        tokio::time::sleep(SECOND).await;
    }
    assert!(left[4] == 100 && left[10] == 0 && (20..80).contains(&left[7]), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_date_is_given_while_it_is_computed_anew_once() {
    let policy = ModelPolicy { ttl: Some(SECOND), stale_while_revalidate: SECOND, ..by_rows() };
    let (cache, model) = (cached(policy), Model::taking(10));
    ask(&cache, &model, &[1, 2], None).await.unwrap();
    tokio::time::sleep(SECOND).await;
    ask(&cache, &model, &[3], None).await.unwrap();
    let mut stale = ask(&cache, &model, &[1, 3], None).await.unwrap();
    assert_eq!((stale.status, stale.answer), (CacheStatus::Stale, answer_to(&rows(&[1, 3]))));
    let refresh = stale.refresh.take().unwrap();
    let again = ask(&cache, &model, &[1], None).await.unwrap();
    assert!(again.status == CacheStatus::Stale && again.refresh.is_none(), "one is at it already");
    cache.revalidate(refresh, (rows(&[1, 3]), Some(2)), &model).await.unwrap();
    assert_eq!(*model.runs.lock(), [vec![1, 2], vec![3], vec![1]]);
    assert_eq!(ask(&cache, &model, &[1], None).await.unwrap().status, CacheStatus::Hit);
    tokio::time::sleep(SECOND).await;
    let late = ask(&cache, &model, &[2], None).await.unwrap();
    assert_eq!(late.status, CacheStatus::Miss, "its time as a stale answer is over");
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_out_of_date_are_given_beside_missing_ones_and_computed_anew() {
    let policy = ModelPolicy { ttl: Some(SECOND), stale_while_revalidate: SECOND, ..by_rows() };
    let (cache, model) = (cached(policy), Model::taking(10));
    ask(&cache, &model, &[1, 2], None).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let partly = ask(&cache, &model, &[1, 3, 2], None).await.unwrap();
    assert_eq!(partly.answer, answer_to(&rows(&[1, 3, 2])));
    assert_eq!((partly.status, partly.rows_run), (CacheStatus::Miss, 1));
    assert!(partly.age >= SECOND, "the oldest of them: {:?}", partly.age);
    let mut runs = model.runs.lock().split_off(1);
    runs.sort();
    assert_eq!(runs, [vec![1, 2], vec![3]], "the missing one for the request, the others behind it");
    assert_eq!(ask(&cache, &model, &[1, 2, 3], None).await.unwrap().status, CacheStatus::Hit);
    tokio::time::sleep(SECOND).await;
    let (leader, follower) =
        tokio::join!(ask(&cache, &model, &[4], None), ask(&cache, &model, &[1, 4], None));
    assert_eq!(leader.unwrap().status, CacheStatus::Miss);
    let follower = follower.unwrap();
    assert_eq!((follower.status, follower.rows_run), (CacheStatus::Stale, 0), "nothing ran for it");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_runs_anew_is_remembered() {
    let (cache, model) = (cached(by_rows()), Model::taking(1));
    ask(&cache, &model, &[1, 2], None).await.unwrap();
    let inputs = rows(&[2, 1, 2]);
    let question = Question { inputs: &inputs, rows: Some(3), outputs: None, told: None };
    let Look::Search(search) = cache.anew(&question) else {
        panic!("it is not looked up")
    };
    let found = cache.resolve(search, (inputs.clone(), Some(3)), &model, None).await.unwrap();
    assert_eq!((found.status, &found.answer), (CacheStatus::Bypass, &answer_to(&inputs)));
    assert_eq!(*model.runs.lock(), [vec![1, 2], vec![2, 1]]);
    assert_eq!(cache.scope().read().bypassed, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_before_a_purge_is_not_remembered() {
    let (cache, model) = (cached(by_rows()), Model::taking(10));
    let asking = ask(&cache, &model, &[1], None);
    let purge = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        cache.cache.purge(Some("m"));
    };
    let (found, ()) = tokio::join!(asking, purge);
    assert_eq!(found.unwrap().answer, answer_to(&rows(&[1])));
    assert_eq!(ask(&cache, &model, &[1], None).await.unwrap().status, CacheStatus::Miss);
    assert_eq!(ask(&cache, &model, &[1], None).await.unwrap().status, CacheStatus::Hit);
}

/// What one client does.
#[derive(Debug, Clone)]
struct Client {
    begins: u64,
    values: Vec<u8>,
    gives_up: Option<u64>,
    deadline: Option<u64>,
}

fn client() -> impl Strategy<Value = Client> {
    let values = prop::collection::vec(0_u8..6, 1..6);
    (
        0_u64..60,
        values,
        prop::option::weighted(0.2, 0_u64..40),
        prop::option::weighted(0.2, 1_u64..40),
    )
        .prop_map(|(begins, values, gives_up, deadline)| Client { begins, values, gives_up, deadline })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever requests come together, are cancelled or fail: each answer is the one that the model gives alone, who gets an
    /// error had a run that failed or no time left, no row runs twice at a time, and nothing is left behind.
    #[test]
    fn every_answer_is_that_of_a_model_without_a_cache(
        clients in prop::collection::vec(client(), 1..20),
        failing in prop::collection::vec(0_usize..12, 0..4),
        row_wise in any::<bool>(),
        (ttl, stale) in (prop::option::of(5_u64..50), 0_u64..30),
        small in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let milliseconds = Duration::from_millis;
        runtime.block_on(async {
            let policy = ModelPolicy {
                ttl: ttl.map(milliseconds),
                stale_while_revalidate: milliseconds(stale),
                row_wise,
                ..ModelPolicy::default()
            };
            let memory_bytes = if small { 1500 } else { 1 << 20 };
            let settings = CacheSettings { memory_bytes, ..CacheSettings::default() };
            let cache = Arc::new(model_cache(settings, policy, None));
            let model = Arc::new(Model { failing: failing.clone(), ..Model::taking(7) });
            let mut asking = JoinSet::new();
            for client in clients {
                let (cache, model) = (Arc::clone(&cache), Arc::clone(&model));
                asking.spawn(async move {
                    tokio::time::sleep(milliseconds(client.begins)).await;
                    let deadline = client.deadline.map(|after| Instant::now() + milliseconds(after));
                    let patience = milliseconds(client.gives_up.unwrap_or(100_000));
                    let answer = tokio::time::timeout(patience, ask(&cache, &model, &client.values, deadline)).await;
                    (client, answer)
                });
            }
            let mut failures = 0;
            while let Some(done) = asking.join_next().await {
                match done.unwrap() {
                    (client, Ok(Ok(found))) => assert_eq!(found.answer, answer_to(&rows(&client.values))),
                    (client, Ok(Err(Fault::Late))) => assert!(client.deadline.is_some()),
                    (_, Ok(Err(Fault::Model))) => failures += 1,
                    (_, Ok(Err(Fault::Recalled))) => panic!("nobody asked for failures to be remembered"),
                    (client, Err(_)) => assert!(client.gives_up.is_some(), "{client:?} waits for ever"),
                }
            }
            assert!(failures <= failing.len(), "a failure is one request's");
            assert!(!model.overlapped.load(Ordering::Relaxed) || !row_wise, "a row ran twice at a time");
            assert_eq!(cache.cache.flights.count(), 0);
            let counts = cache.scope().read();
            assert_eq!((counts.entries, counts.bytes), (cache.cache.entries(), cache.cache.bytes()));
            assert!(cache.cache.bytes() <= memory_bytes);
        });
    }
}
