//! Replicas that share a response cache in Redis or Memcached, through the real binary: what happens to requests while these
//! are frozen, killed and back. Where they are not installed, the tests fail and say so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::cell::Cell;
use std::fs;
use std::time::{Duration, Instant};

use adulis_testing::{BackingServer, IdentityModel, TestRepository, TestServer};
use serde_json::{Value, json};
use support::BINARY;

/// What a look-up may cost. Long, since many tests share few cores.
const TIMEOUT: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);

fn repository() -> TestRepository {
    let model = IdentityModel {
        inputs: &[("INT32", "1")],
        max_batch_size: 8,
        more: "response_cache { enable: true }",
        ..IdentityModel::default()
    };
    let repository = TestRepository::new().unwrap();
    repository.identity("m", &model).unwrap();
    repository
}

/// A server without a memory of its own, so that what it knows it has from the store.
fn replica(repository: &TestRepository, section: &str, url: &str) -> TestServer {
    remembering(repository, "off", (section, url))
}

fn remembering(repository: &TestRepository, memory: &str, (section, url): (&str, &str)) -> TestServer {
    let file = repository.path().join("adulis.toml");
    let times = "check_interval = '1s'\ntimeout = '300ms'\nacquire_timeout = '300ms'";
    let delays = "min_delay = '100ms'\nmax_delay = '500ms'";
    let text = format!(
        "[cache]\nmemory_bytes = '{memory}'\npurge_interval = '200ms'\n[cache.{section}]\nurl = '{url}'\n[cache.{section}.pool]\n{times}\n\
         [cache.{section}.breaker]\n{delays}\n"
    );
    fs::write(&file, text).unwrap();
    let models = repository.path().join("m");
    TestServer::start(BINARY, &[models.to_str().unwrap(), "--config", file.to_str().unwrap()]).unwrap()
}

/// How a request for this number came to its answer.
async fn ask(server: &TestServer, number: u64) -> String {
    let input = json!({"name": "INPUT0", "datatype": "INT32", "shape": [1, 1], "data": [number]});
    let answer = server.infer("m", &[], &json!({"inputs": [input]}).to_string()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["outputs"][0]["data"], json!([number]));
    answer.header("adulis-cache").unwrap().split(';').next().unwrap().to_owned()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What readiness tells of the store.
async fn told(server: &TestServer, name: &str) -> Value {
    let answer = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(answer.status, 200, "it is ready whatever the store is: {}", answer.text());
    let told: Value = serde_json::from_str(&answer.text()).unwrap();
    told["dependencies"][name].clone()
}

async fn hits(server: &TestServer, numbers: std::ops::Range<u64>) -> usize {
    let mut hits = 0;
    for number in numbers {
        hits += usize::from(ask(server, number).await == "hit");
    }
    hits
}

/// Two replicas, one asked all the time, over a store that stops answering and goes on.
async fn rides_out(
    section: &'static str,
    store: &mut BackingServer,
    stop: impl FnOnce(&mut BackingServer),
    go_on: impl FnOnce(&mut BackingServer),
) {
    let repository = repository();
    let url = format!("{section}://{}", store.address());
    let (one, other) = (replica(&repository, section, &url), replica(&repository, section, &url));
    one.ready().await;
    other.ready().await;
    until("it is up", async || told(&one, section).await["up"] == json!(true)).await;
    until("what one computed the other finds", async || {
        hits(&one, 0..10).await;
        hits(&other, 0..10).await == 10
    })
    .await;
    let (slowest, is_over) = (Cell::new(Duration::ZERO), Cell::new(false));
    let load = async {
        while !is_over.get() {
            let begun = Instant::now();
            ask(&one, 3).await;
            slowest.set(slowest.get().max(begun.elapsed()));
        }
    };
    let scenario = async {
        stop(store);
        let is_down = async || {
            let told = told(&one, section).await;
            let reason = told["reason"].as_str().unwrap_or_default();
            told["up"] == json!(false) && reason.contains("is down")
        };
        until("it is seen to be down", is_down).await;
        hits(&one, 20..40).await;
        go_on(store);
        until("it is up again", async || told(&one, section).await["up"] == json!(true)).await;
        until("answers are found again", async || {
            hits(&one, 0..10).await;
            hits(&other, 0..10).await == 10
        })
        .await;
        is_over.set(true);
    };
    tokio::join!(load, scenario);
    let openings = one.metric("adulis_pool_breaker_openings_total", &[section]).await.unwrap();
    assert!(openings >= 1.0);
    // A look-up and the look for a lease; the machine may be slower than its timers, but not by much.
    assert!(slowest.get() < TIMEOUT * 8, "a request took {:?}", slowest.get());
}

#[tokio::test]
async fn a_redis_that_is_frozen() {
    let mut redis = BackingServer::redis(&[]);
    rides_out("redis", &mut redis, |server| server.freeze(), |server| server.thaw()).await;
}

#[tokio::test]
async fn a_redis_that_is_killed() {
    let mut redis = BackingServer::redis(&[]);
    rides_out("redis", &mut redis, BackingServer::kill, BackingServer::restart).await;
}

#[tokio::test]
async fn a_memcached_that_is_frozen() {
    let mut memcached = BackingServer::memcached(&[]);
    rides_out("memcached", &mut memcached, |server| server.freeze(), |server| server.thaw()).await;
}

#[tokio::test]
async fn a_purge_of_one_replica_reaches_the_other() {
    let redis = BackingServer::redis(&[]);
    let (repository, url) = (repository(), format!("redis://{}", redis.address()));
    let [one, other] = [0, 1].map(|_| remembering(&repository, "1MiB", ("redis", &url)));
    for server in [&one, &other] {
        server.ready().await;
        until("it is up", async || told(server, "redis").await["up"] == json!(true)).await;
    }
    until("both know", async || hits(&one, 0..3).await + hits(&other, 0..3).await == 6).await;
    for path in ["/v2/cache/models/m/purge", "/v2/cache/purge"] {
        let purged = one.post(path, "").await.unwrap();
        assert_eq!(purged.status, 200, "{}", purged.text());
        until("the other forgets it", async || ask(&other, 1).await == "miss").await;
        assert_eq!(ask(&other, 1).await, "hit");
        let report: Value = serde_json::from_str(&one.get("/v2/cache").await.unwrap().text()).unwrap();
        assert_eq!(report["shared"]["purges_pending"], json!(0));
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_delays_no_start() {
    let mut redis = BackingServer::redis(&["--requirepass", "s3cret"]);
    let url = format!("redis://:s3cret@{}", redis.address());
    redis.kill();
    let repository = repository();
    let server = replica(&repository, "redis", &url);
    server.ready().await;
    assert_eq!(ask(&server, 1).await, "miss");
    until("readiness tells", async || told(&server, "redis").await["up"] == json!(false)).await;
    assert!(!server.log().contains("s3cret") && !told(&server, "redis").await.to_string().contains("s3cret"));
    redis.restart();
    until("it is found", async || {
        ask(&server, 1).await;
        ask(&server, 1).await == "hit"
    })
    .await;
}
