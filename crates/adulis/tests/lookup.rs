//! Inputs that are looked up in Redis, through the real binary: what clients see of it, and of a Redis that is frozen.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::time::{Duration, Instant};

use adulis_testing::{BackingServer, RawResponse, TestRepository, TestServer};
use serde_json::{Value, json};
use support::{byte_model, serve};

const PATIENCE: Duration = Duration::from_secs(60);

async fn ask(server: &TestServer, customer: u32) -> RawResponse {
    let input = json!({"name": "customer", "datatype": "INT64", "shape": [1], "data": [customer]});
    server.infer("digits", &[], &json!({"inputs": [input]}).to_string()).await.unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What readiness tells of the Redis for lookups.
async fn told(server: &TestServer) -> Value {
    let ready = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text());
    let told: Value = serde_json::from_str(&ready.text()).unwrap();
    told["dependencies"]["lookup_redis"].clone()
}

#[tokio::test]
async fn inputs_come_from_a_hash_and_a_frozen_redis_is_told_in_time() {
    let redis = BackingServer::redis(&[]);
    redis.redis_cli(&["HSET", "shop:customer:7", "byte", "42"]);
    let lookup =
        r#"{"key": "customer", "datatype": "INT64", "hash": "customer:*", "inputs": {"INPUT0": "byte"}}"#;
    let repository = TestRepository::new().unwrap();
    repository
        .identity("digits", &byte_model(&[("lookup", &lookup.replace('"', "\\\""))]))
        .unwrap();
    let url = format!("lookup.redis.url=redis://{}", redis.address());
    let settings = [
        &*url,
        "lookup.redis.key_prefix=shop:",
        "lookup.redis.pool.timeout=1s",
        "lookup.redis.pool.check_interval=1s",
        "lookup.redis.breaker.min_delay=100ms",
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = serve(&repository, &arguments);
    server.ready().await;
    until("it answers", async || ask(&server, 7).await.status == 200).await;
    let found = ask(&server, 7).await;
    assert!(found.text().contains(r#""data":[42]"#), "{}", found.text());
    let missing = ask(&server, 9).await;
    assert!(
        missing.status == 400 && missing.text().contains("nothing is known of 9"),
        "{}",
        missing.text()
    );
    let metadata = server.get("/v2/models/digits").await.unwrap().text();
    assert!(metadata.contains("customer") && !metadata.contains("INPUT0"), "{metadata}");
    assert_eq!(told(&server).await, json!({"up": true}));

    redis.freeze();
    let begun = Instant::now();
    let frozen = ask(&server, 7).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((frozen.status, frozen.header("retry-after")), (503, Some("1")), "{}", frozen.text());
    assert!(frozen.text().contains("'customer' cannot be looked up now: Redis"), "{}", frozen.text());
    until("readiness tells", async || told(&server).await["up"] == json!(false)).await;
    redis.thaw();
    until("it answers again", async || ask(&server, 7).await.status == 200).await;
}
