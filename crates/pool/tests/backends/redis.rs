use std::time::{Duration, Instant};

use adulis_pool::{Health, KeyValuePool, PoolError, PoolOptions, RedisPool};
use adulis_telemetry::MetricRegistry;
use adulis_testing::{BackingServer, POOL_TIMEOUT, becomes, metric, pool_options, redis_pool, until};
use bytes::Bytes;

use crate::load::Load;
use crate::operations::{entries, every_operation_works};

pub(crate) fn open_with(url: &str, options: &PoolOptions, registry: &MetricRegistry) -> RedisPool {
    redis_pool("redis", url, options, registry)
}

pub(crate) fn open(url: &str) -> RedisPool {
    open_with(url, &pool_options(), &MetricRegistry::default())
}

#[tokio::test]
async fn a_single_server() {
    let server = BackingServer::redis(&[]);
    let registry = MetricRegistry::default();
    let pool = open_with(&format!("redis://{}", server.address()), &pool_options(), &registry);
    every_operation_works(&pool).await;
    server.redis_cli(&["HSET", "customer:7", "age", "41", "city", "Axum"]);
    let hashes = pool.hash_get_many(&["customer:7", "customer:8"], &["city", "age", "name"]).await.unwrap();
    let some = |text: &'static str| Some(Bytes::from(text));
    assert_eq!(hashes, [vec![some("Axum"), some("41"), None], vec![None, None, None]]);
    let wrong = pool.hash_get_many(&["key-3"], &["city"]).await.unwrap_err();
    assert!(matches!(wrong, PoolError::WrongType { .. }), "{wrong}");
    assert_eq!(pool.status().health, Health::Up, "an answer that is an error is an answer");
    assert!(metric(&registry, "adulis_pool_connections_opened_total{pool=\"redis\"}") >= 1.0);
    let gets = metric(&registry, "adulis_pool_operation_seconds_count{pool=\"redis\",operation=\"get\"}");
    assert!(gets >= 5.0);
}

#[tokio::test]
async fn databases_and_passwords() {
    let server = BackingServer::redis(&["--requirepass", "s3cret/@"]);
    let at = server.address();
    let pool = open(&format!("redis://:s3cret%2F%40@{at}/3"));
    every_operation_works(&pool).await;
    let told = server.redis_cli(&["-a", "s3cret/@", "-n", "3", "EXISTS", "key-9"]);
    assert_eq!(told.trim(), "1");
    for url in [format!("redis://{at}"), format!("redis://:wrong@{at}")] {
        let pool = open(&url);
        becomes(Health::Down, || pool.status()).await;
        let reason = pool.status().last_error.unwrap();
        assert!(reason.contains("refuses") && !reason.contains("wrong@"), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_delays_nobody() {
    let mut server = BackingServer::redis(&[]);
    let at = server.address();
    server.kill();
    let begun = Instant::now();
    let pool = open(&format!("redis://{at}"));
    assert!(begun.elapsed() < POOL_TIMEOUT);
    becomes(Health::Down, || pool.status()).await;
    let refused = pool.get_many(&["x"]).await.unwrap_err();
    assert!(matches!(refused, PoolError::Open { .. } | PoolError::Connect { .. }), "{refused}");
    assert!(pool.status().last_error.unwrap().contains("cannot be reached"));
    server.restart();
    becomes(Health::Up, || pool.status()).await;
    pool.set_many(&entries(3)).await.unwrap();
}

/// A pool under load, whose server stops answering, and goes on after a while.
async fn rides_out(stop: impl FnOnce(&mut BackingServer), go_on: impl FnOnce(&mut BackingServer)) {
    let mut server = BackingServer::redis(&[]);
    let registry = MetricRegistry::default();
    let pool = open_with(&format!("redis://{}", server.address()), &pool_options(), &registry);
    becomes(Health::Up, || pool.status()).await;
    pool.set_many(&entries(10)).await.unwrap();
    let asking = pool.clone();
    let load = Load::start(move || {
        let pool = asking.clone();
        async move { pool.get_many(&["key-3", "key-4"]).await }
    });
    load.hits(200).await;
    stop(&mut server);
    load.refused(200).await;
    becomes(Health::Down, || pool.status()).await;
    let begun = Instant::now();
    assert!(matches!(pool.get_many(&["key-3"]).await, Err(PoolError::Open { .. })));
    assert!(begun.elapsed() < POOL_TIMEOUT, "it costs nothing while it is down");
    assert!(metric(&registry, "adulis_pool_breaker_state{pool=\"redis\"}") > 0.0);
    go_on(&mut server);
    becomes(Health::Up, || pool.status()).await;
    until("it can be set again", async || pool.set_many(&entries(10)).await.is_ok()).await;
    load.hits(200).await;
    assert!(metric(&registry, "adulis_pool_breaker_openings_total{pool=\"redis\"}") >= 1.0);
    let slowest = load.end().await;
    // The machine may be slower than the timer, but not by much.
    assert!(slowest < POOL_TIMEOUT * 3, "one request took {slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_under_load() {
    rides_out(|server| server.freeze(), |server| server.thaw()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_under_load() {
    rides_out(BackingServer::kill, BackingServer::restart).await;
}

#[tokio::test]
async fn a_restart_between_two_requests_is_not_seen() {
    let mut server = BackingServer::redis(&[]);
    // Nobody but the requests looks.
    let options = PoolOptions { check_interval: Duration::from_secs(600), ..pool_options() };
    let pool = open_with(&format!("redis://{}", server.address()), &options, &MetricRegistry::default());
    becomes(Health::Up, || pool.status()).await;
    pool.set_many(&entries(3)).await.unwrap();
    server.kill();
    server.restart();
    assert_eq!(pool.get_many(&["key-1"]).await.unwrap(), [None], "a new connection is tried");
}
