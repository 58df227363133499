use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_pool::{BreakerOptions, PoolOptions, RedisPool, RedisTls, RedisUrl};
use adulis_store::Lookups;
use adulis_telemetry::{MetricRegistry, MetricsFormat, PoolMetrics};
use adulis_tensor::{DataType, Tensor};
use adulis_testing::{BackingServer, RedisCluster};
use adulis_types::{ErrorKind, Fault, ModelRef, Retry};

use crate::lookup::{Asked, Tabular, texts};
use crate::support::PATIENCE;

/// What an operation may take. Long, since many tests share few cores.
const TIMEOUT: Duration = Duration::from_secs(1);

const LOOKUP: &str = r#"{"key": "customer_id", "datatype": "INT64", "hash": "customer:*:now",
    "inputs": {"features": ["age", "how much?"], "segment": "segment", "visits": ["visits"]},
    "defaults": {"how much?": 0.5, "visits": -1}, "ttl_seconds": 60}"#;

struct Hashed {
    asked: Asked,
    registry: MetricRegistry,
}

impl Hashed {
    /// A service over a Redis whose keys begin with `shop:`.
    fn new(url: &str, lookup: &str) -> Self {
        let registry = MetricRegistry::default();
        let breaker = BreakerOptions { min_delay: Duration::from_millis(50), ..BreakerOptions::default() };
        let options = PoolOptions {
            timeout: TIMEOUT,
            acquire_timeout: TIMEOUT / 2,
            check_interval: Duration::from_millis(500),
            breaker,
            ..PoolOptions::default()
        };
        let url: RedisUrl = url.parse().unwrap();
        let place = (url, RedisTls::default());
        let pool =
            RedisPool::open("lookup_redis", place, &options, &PoolMetrics::register(&registry)).unwrap();
        let service =
            Lookups::default().with_hashes(pool, "shop:").wrap(Arc::new(Tabular(lookup.to_owned())));
        Self { asked: Asked(service), registry }
    }

    async fn ask(&self, ids: &[i64]) -> Result<Vec<Tensor>, Fault> {
        self.asked.ask_within(ids, None).await
    }

    /// Asks until an answer comes.
    async fn ask_until_known(&self, ids: &[i64]) -> Vec<Tensor> {
        let begun = Instant::now();
        loop {
            match self.ask(ids).await {
                Ok(tensors) => return tensors,
                Err(fault) => assert!(begun.elapsed() < PATIENCE, "{fault}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How often Redis was asked for hashes.
    fn round_trips(&self) -> f64 {
        let sample = "adulis_pool_operation_seconds_count{pool=\"lookup_redis\",operation=\"hash_get\"} ";
        let text = self.registry.render(MetricsFormat::Text);
        text.lines()
            .find_map(|line| line.strip_prefix(sample))
            .map_or(0.0, |value| value.parse().unwrap())
    }
}

fn customer(redis: &BackingServer, arguments: &[&str], id: &str, fields: &[&str]) {
    let key = format!("shop:customer:{id}:now");
    let told = redis.redis_cli(&[arguments, &["HSET", key.as_str()], fields].concat());
    assert!(told.trim().ends_with(&(fields.len() / 2).to_string()), "{told}");
}

fn customers(redis: &BackingServer) {
    customer(
        redis,
        &[],
        "1",
        &[
            "age",
            "31",
            "how much?",
            "10.25",
            "segment",
            "gold",
            "visits",
            "7",
        ],
    );
    customer(redis, &[], "2", &["age", "40", "segment", "é'\""]);
    customer(redis, &[], "3", &["how much?", "1", "segment", "x", "visits", "1"]);
    customer(redis, &[], "4", &["age", "50", "segment", "x", "visits", "70000"]);
    customer(redis, &[], "5", &["color", "red"]);
    redis.redis_cli(&["SET", "shop:customer:6:now", "no hash"]);
}

fn server() -> (BackingServer, String) {
    let redis = BackingServer::redis(&[]);
    let url = format!("redis://{}", redis.address());
    (redis, url)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[tokio::test]
async fn features_come_from_hashes() {
    let (redis, url) = server();
    customers(&redis);
    let hashed = Hashed::new(&url, LOOKUP);
    let tensors = hashed.ask_until_known(&[2, 1, 2]).await;
    let visits: Vec<u8> = [-1_i16, 7, -1].iter().flat_map(|value| value.to_le_bytes()).collect();
    for (tensor, datatype, columns, data) in [
        (&tensors[0], DataType::Fp32, 2, floats(&[40.0, 0.5, 31.0, 10.25, 40.0, 0.5])),
        (&tensors[1], DataType::Bytes, 1, texts(&["é'\"", "gold", "é'\""])),
        (&tensors[2], DataType::Int16, 1, visits),
    ] {
        assert_eq!(
            (tensor.datatype(), &tensor.shape()[..], &tensor.data()[..]),
            (datatype, &[3, columns][..], &data[..])
        );
    }
    let metadata = hashed.asked.0.model_metadata(&ModelRef::latest("m")).unwrap();
    let inputs: Vec<_> = metadata.inputs.iter().map(|input| &*input.name).collect();
    assert_eq!(inputs, ["other", "customer_id"]);
    // Hashes that were read are used again for a while.
    let before = hashed.round_trips();
    redis.redis_cli(&["FLUSHALL"]);
    assert_eq!(hashed.ask(&[2, 1, 2]).await.unwrap(), tensors);
    assert_eq!(hashed.round_trips(), before);
    assert_eq!(hashed.ask(&[4]).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn what_is_missing_is_told_or_has_its_default() {
    let (redis, url) = server();
    customers(&redis);
    let hashed = Hashed::new(&url, LOOKUP);
    for (id, expected) in [
        (99, "input 'customer_id': nothing is known of 99"),
        // None of the fields is there.
        (5, "input 'customer_id': nothing is known of 5"),
        (3, "input 'features': field \"age\" of 3 is missing and has no default"),
        (4, "input 'visits': field \"visits\" of 4 is no INT16"),
        (6, "input 'customer_id': what is kept of one of its ids is no hash"),
    ] {
        let fault = hashed.ask(&[1, id]).await.unwrap_err();
        let expected = format!("model 'm': {expected}");
        assert_eq!((fault.kind(), &*fault.client_message()), (ErrorKind::InvalidArgument, &*expected));
    }
    let lenient = LOOKUP
        .replace(r#""defaults": {"#, r#""missing": "default", "defaults": {"age": 18, "segment": "none", "#);
    let hashed = Hashed::new(&url, &lenient);
    let tensors = hashed.ask(&[99]).await.unwrap();
    assert_eq!(
        (&tensors[0].data()[..], &tensors[1].data()[..]),
        (&floats(&[18.0, 0.5])[..], &texts(&["none"])[..])
    );
}

#[tokio::test]
async fn many_at_once_share_round_trips_and_no_one_s_fault() {
    let (redis, url) = server();
    customers(&redis);
    let hashed = Arc::new(Hashed::new(&url, &LOOKUP.replace("\"ttl_seconds\": 60", "\"ttl_seconds\": 0")));
    let asked = (0..200_i64).map(|number| {
        let hashed = Arc::clone(&hashed);
        async move {
            // One in fifty asks for what is no hash.
            let id = if number % 50 == 0 { 6 } else { 1 + number % 2 };
            match hashed.ask(&[id, 1]).await {
                Ok(tensors) => {
                    assert_ne!(id, 6);
                    let age = if id == 1 { 31.0 } else { 40.0 };
                    assert_eq!(tensors[0].data()[..4], floats(&[age])[..]);
                }
                Err(fault) => assert!(id == 6 && fault.kind() == ErrorKind::InvalidArgument, "{id}: {fault}"),
            }
        }
    });
    futures_util::future::join_all(asked).await;
    // The first asks alone, then all others together; each of the four at fault is found by halving.
    assert!(hashed.round_trips() < 80.0, "{} round trips for 200 requests", hashed.round_trips());
}

#[tokio::test]
async fn a_redis_that_is_frozen_or_gone_is_told_in_time_and_found_again() {
    let (mut redis, url) = server();
    customers(&redis);
    let hashed = Hashed::new(&url, &LOOKUP.replace("\"ttl_seconds\": 60", "\"ttl_seconds\": 0"));
    let tensors = hashed.ask_until_known(&[1]).await;
    let unavailable = |fault: &Fault, reason: &str| {
        assert_eq!(
            (fault.kind(), fault.retry()),
            (ErrorKind::Unavailable, Retry::After(Duration::from_secs(1)))
        );
        let told = fault.client_message();
        assert_eq!(told, format!("model 'm': input 'customer_id' cannot be looked up now: Redis {reason}"));
    };
    redis.freeze();
    // A client that waits for less is told so; the others learn it from the pool.
    let hurried = hashed.asked.ask_within(&[1], Some(TIMEOUT / 8)).await.unwrap_err();
    assert_eq!(hurried.kind(), ErrorKind::DeadlineExceeded);
    let begun = Instant::now();
    unavailable(&hashed.ask(&[1]).await.unwrap_err(), "did not answer in time");
    assert!(begun.elapsed() < TIMEOUT * 4, "{:?}", begun.elapsed());
    redis.thaw();
    assert_eq!(hashed.ask_until_known(&[1]).await, tensors);

    redis.kill();
    let begun = Instant::now();
    for _ in 0..20 {
        unavailable(&hashed.ask(&[1]).await.unwrap_err(), "could not be asked");
    }
    assert!(
        begun.elapsed() < TIMEOUT * 4,
        "once it is known to be gone nobody waits: {:?}",
        begun.elapsed()
    );
    redis.restart();
    customers(&redis);
    assert_eq!(hashed.ask_until_known(&[1]).await, tensors);
}

#[tokio::test]
async fn a_redis_that_refuses_this_is_a_fault_of_the_configuration() {
    let (redis, url) = server();
    customers(&redis);
    redis.redis_cli(&[
        "ACL", "SETUSER", "reader", "on", "nopass", "~other:*", "+hmget", "+ping", "+client",
    ]);
    let hashed = Hashed::new(&url.replace("redis://", "redis://reader:any@"), LOOKUP);
    let fault = hashed.ask(&[1]).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Internal, "{fault}");
    assert!(fault.to_string().contains("NoPerm"), "{fault}");
    assert!(!fault.client_message().contains("NoPerm"), "{}", fault.client_message());
    // A table, and nowhere to look for it.
    let hashed = Hashed::new(
        &url,
        &LOOKUP
            .replace(r#""hash": "customer:*:now""#, r#""table": "customers""#)
            .replace("how much?", "balance"),
    );
    let fault = hashed.ask(&[1]).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Internal);
    assert!(fault.to_string().contains("set store.lookup to true"), "{fault}");
}

#[tokio::test]
async fn a_cluster_has_them_anywhere() {
    let cluster = RedisCluster::start();
    for id in 1..=60 {
        customer(&cluster.nodes[0], &["-c"], &id.to_string(), &["age", &id.to_string(), "segment", "s"]);
    }
    let hashed = Hashed::new(&format!("redis+cluster://{}", cluster.addresses()), LOOKUP);
    let ids: Vec<i64> = (1..=60).rev().collect();
    let tensors = hashed.ask_until_known(&ids).await;
    let ages: Vec<f32> = (1..=60_u8).rev().flat_map(|age| [f32::from(age), 0.5]).collect();
    assert_eq!(tensors[0].data()[..], floats(&ages)[..]);
}
