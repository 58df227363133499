//! Requests at a time, of two replicas.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adulis_pool::Health;
use adulis_quota::Limits;
use adulis_testing::{BackingServer, ScriptedService, metric, until};
use adulis_types::{
    BoxFuture, DelegatingService, Fault, InferRequest, InferResponse, InferenceService, ResponseStream, Retry,
};
use futures_util::FutureExt;

use crate::{Replica, slow, state};

/// Short, and long enough for cores that have other things to do.
const LEASE: Duration = Duration::from_millis(1200);

fn places(most: u32) -> Limits {
    Limits { concurrent_requests: NonZeroU32::new(most), ..Limits::default() }
}

async fn leased(redis: &BackingServer, limits: Limits) -> Replica {
    let inner = Arc::new(ScriptedService::default());
    Replica::around(redis, (Arc::clone(&inner) as _, inner), (limits, LEASE)).await
}

async fn pair(redis: &BackingServer, most: u32) -> [Replica; 2] {
    [
        leased(redis, places(most)).await,
        leased(redis, places(most)).await,
    ]
}

/// A request that is under way until it is let go.
async fn hold(replica: &Replica) -> BoxFuture<'_, Result<InferResponse, Fault>> {
    let before = replica.inner.calls.started.load(Ordering::SeqCst);
    let mut held = replica.infer("held", 1);
    while replica.inner.calls.started.load(Ordering::SeqCst) == before {
        assert!((&mut held).now_or_never().is_none(), "it is refused");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    held
}

async fn let_go(replica: &Replica, held: impl Future<Output = Result<InferResponse, Fault>>) {
    replica.inner.release.add_permits(1);
    assert!(held.await.is_ok());
}

async fn assert_refused(replica: &Replica) {
    let answer = replica.ask(1).await;
    assert!(state(&answer).contains(r#""concurrent-requests";r=0"#), "{}", state(&answer));
    let fault = answer.unwrap_err();
    assert_eq!(fault.retry(), Retry::After(Duration::from_secs(1)));
    assert!(
        fault
            .client_message()
            .contains("requests at a time: try again when one of them is answered")
    );
}

async fn passes(replica: &Replica) {
    until("there is a place", async || replica.ask(1).await.is_ok()).await;
}

fn places_in(redis: &BackingServer) -> usize {
    let keys = redis.redis_cli(&["KEYS", "test:quota:{*}:places"]);
    if keys.trim().is_empty() {
        0
    } else {
        redis.redis_cli(&["ZCARD", keys.trim()]).trim().parse().unwrap()
    }
}

#[tokio::test]
async fn replicas_share_places() {
    let redis = BackingServer::redis(&[]);
    let [one, other] = pair(&redis, 3).await;
    let held = [hold(&one).await, hold(&one).await];
    let last = hold(&other).await;
    assert_refused(&one).await;
    assert_refused(&other).await;
    assert_eq!(metric(&one.registry, "adulis_quota_leases"), 2.0);
    let [first, second] = held;
    let_go(&one, first).await;
    passes(&other).await;
    // One that goes away without its answer.
    drop(second);
    passes(&other).await;
    let_go(&other, last).await;
    until("all are given back", async || places_in(&redis) == 0).await;
    assert_eq!(one.unshared() + other.unshared(), 0.0);
    assert_eq!(metric(&one.registry, "adulis_quota_leases"), 0.0);
}

/// Counts the requests that are under way at a time, over all who hold it.
#[derive(Default)]
struct Crowd {
    inner: ScriptedService,
    under_way: AtomicU32,
    most: AtomicU32,
}

impl DelegatingService for Crowd {
    fn inner(&self) -> &dyn InferenceService {
        &self.inner
    }

    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        Box::pin(async move {
            let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(under_way, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            self.inner.infer(request).await
        })
    }

    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        self.inner.infer_stream(request)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_of_both_no_more_are_under_way_than_may_be() {
    const MOST: u32 = 5;
    let redis = BackingServer::redis(&[]);
    let crowd = Arc::new(Crowd::default());
    let start = async || {
        let service = Arc::clone(&crowd) as Arc<dyn InferenceService>;
        Replica::around(&redis, (service, Arc::default()), (places(MOST), LEASE)).await
    };
    let replicas = [start().await, start().await];
    let asks = async |replica: &Replica| {
        let (mut passed, mut refused) = (0, 0);
        while passed < 20 {
            match replica.ask(1).await {
                Ok(_) => passed += 1,
                Err(_) => {
                    refused += 1;
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
            }
        }
        refused
    };
    let clients = (0..24).map(|client| asks(&replicas[client % 2]));
    let refused: u32 = futures_util::future::join_all(clients).await.into_iter().sum();
    assert_eq!(crowd.most.load(Ordering::SeqCst), MOST);
    assert!(refused > 0, "there were more than may be");
    assert_eq!(replicas.iter().map(Replica::unshared).sum::<f64>(), 0.0);
    until("all are given back", async || places_in(&redis) == 0).await;
}

/// Of one thread, on which the task that gives places back does not get its turn before.
#[tokio::test]
async fn a_replica_that_stops_leaves_no_place_behind() {
    let mut redis = BackingServer::redis(&[]);
    let [one, other] = pair(&redis, 1).await;
    assert!(one.ask(1).await.is_ok());
    assert_eq!(places_in(&redis), 1, "it is given back aside");
    one.quotas.close(Duration::from_secs(5)).await;
    assert_eq!(places_in(&redis), 0);
    one.quotas.close(Duration::from_secs(5)).await;
    // Where Redis is gone nobody waits for it.
    assert!(other.ask(1).await.is_ok());
    redis.kill();
    let begun = Instant::now();
    other.quotas.close(Duration::from_secs(30)).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_asks_one_after_the_other_is_not_refused() {
    let redis = BackingServer::redis(&[]);
    let [replica, _] = pair(&redis, 1).await;
    for number in 0..300 {
        assert!(replica.ask(1).await.is_ok(), "{number}");
    }
}

#[tokio::test]
async fn what_is_refused_for_one_limit_takes_nothing_of_another() {
    let redis = BackingServer::redis(&[]);
    let limits = Limits { requests: Some(slow(3)), ..places(2) };
    let [one, other] = [leased(&redis, limits.clone()).await, leased(&redis, limits).await];
    let held = [hold(&one).await, hold(&one).await];
    for _ in 0..3 {
        let told = state(&other.ask(1).await);
        assert!(told.starts_with(r#""requests";r=1;"#), "{told}");
    }
    for held in held {
        let_go(&one, held).await;
    }
    passes(&other).await;
    until("all are given back", async || places_in(&redis) == 0).await;
    for _ in 0..3 {
        let refused = other.ask(1).await;
        assert!(state(&refused).contains(r#""requests";r=0;"#), "{}", state(&refused));
        assert!(state(&refused).ends_with(r#""concurrent-requests";r=2"#), "{}", state(&refused));
    }
    assert_eq!(places_in(&redis), 0);
}

/// A replica whose process is gone, as far as Redis can see: none of its tasks goes on, and nothing was given back.
struct Doomed {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Doomed {
    /// With a request that has no end.
    fn start(redis: &BackingServer, most: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let replica = thread::scope(|scope| {
            let started = scope.spawn(|| runtime.block_on(leased(redis, places(most))));
            started.join().unwrap()
        });
        runtime.spawn(async move { replica.infer("slow", 1).await.map(drop) });
        Self { runtime: Some(runtime) }
    }

    fn dies(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        self.dies();
    }
}

#[tokio::test]
async fn long_requests_keep_their_places_and_a_replica_that_dies_loses_its() {
    let redis = BackingServer::redis(&[]);
    let mut doomed = Doomed::start(&redis, 1);
    until("it is under way", async || places_in(&redis) == 1).await;
    let other = leased(&redis, places(1)).await;
    let begun = Instant::now();
    while begun.elapsed() < LEASE * 3 {
        assert_refused(&other).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    doomed.dies();
    let died = Instant::now();
    assert_refused(&other).await;
    passes(&other).await;
    assert!(died.elapsed() < LEASE * 2, "{:?}", died.elapsed());
    assert_eq!(other.unshared(), 0.0);
}

#[tokio::test]
async fn without_redis_each_replica_has_places_of_its_own_and_tells_of_them_afterwards() {
    let mut redis = BackingServer::redis(&[]);
    let [one, other] = pair(&redis, 1).await;
    let first = hold(&one).await;
    assert_refused(&other).await;
    redis.kill();
    let second = hold(&other).await;
    for replica in [&one, &other] {
        assert_refused(replica).await;
    }
    assert_eq!(
        (one.unshared(), other.unshared()),
        (0.0, 1.0),
        "who has no place here is not asked for elsewhere"
    );
    redis.restart();
    for replica in [&one, &other] {
        replica.becomes(Health::Up).await;
    }
    until("both are known", async || places_in(&redis) == 2).await;
    let_go(&one, first).await;
    until("one is given back", async || places_in(&redis) == 1).await;
    assert_refused(&one).await;
    let_go(&other, second).await;
    passes(&one).await;
}

/// Scripts that Redis was asked to run.
fn calls(redis: &BackingServer) -> u64 {
    let told = redis.redis_cli(&["INFO", "commandstats"]);
    let of = |name: &str| -> u64 {
        let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":calls="));
        line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
    };
    of("cmdstat_evalsha") + of("cmdstat_eval")
}

#[tokio::test]
async fn a_request_costs_one_round_trip_before_it_and_one_after_it() {
    let redis = BackingServer::redis(&[]);
    let limits = Limits { requests: Some(slow(1000)), ..places(10) };
    let replica = leased(&redis, limits).await;
    // Redis is told the scripts.
    assert!(replica.ask(1).await.is_ok());
    until("it is given back", async || places_in(&redis) == 0).await;
    let before = calls(&redis);
    let held = hold(&replica).await;
    assert_eq!(calls(&redis) - before, 1);
    let_go(&replica, held).await;
    until("it is given back", async || places_in(&redis) == 0).await;
    assert_eq!(calls(&redis) - before, 2);
    for _ in 0..50 {
        assert!(replica.ask(1).await.is_ok());
    }
    until("all are given back", async || places_in(&redis) == 0).await;
    let more = calls(&redis) - before - 2;
    assert!((50..=100).contains(&more), "{more}");
}

#[tokio::test]
async fn a_clock_of_redis_that_was_set_back_keeps_no_place_for_longer_than_a_lease() {
    let redis = BackingServer::redis(&[]);
    let replica = leased(&redis, places(1)).await;
    let held = hold(&replica).await;
    let key = redis.redis_cli(&["KEYS", "test:quota:{*}:places"]);
    let_go(&replica, held).await;
    until("it is given back", async || places_in(&redis) == 0).await;
    // One of a replica that died when the clock was centuries ahead.
    redis.redis_cli(&["ZADD", key.trim(), "9000000000000000", "ghost"]);
    let begun = Instant::now();
    assert_refused(&replica).await;
    passes(&replica).await;
    assert!(begun.elapsed() < LEASE * 2, "{:?}", begun.elapsed());
}
