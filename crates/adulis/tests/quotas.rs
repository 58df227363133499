//! Quotas and fair shares through the real binary, over REST and gRPC, by one server and by two that share a Redis.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use adulis::security::KeyDigest;
use adulis_testing::{BackingServer, RawResponse, TestRepository, TestServer};
use support::{BINARY, Client, byte_json, byte_message, byte_model, grpc};
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status};

const PATIENCE: Duration = Duration::from_secs(60);

/// Keys `greedy-key` and `modest-key`, both of the class `few`, `many-key`, and `calm-key`, which has no limits.
fn keys() -> String {
    let key = |name: &str, class: &str| {
        let digest = KeyDigest::of(format!("{name}-key").as_bytes());
        format!("[auth.keys.{name}]\ndigest = \"{digest}\"\nscopes = [\"infer\"]\nquota = \"{class}\"\n")
    };
    let keys = [
        key("greedy", "few"),
        key("modest", "few"),
        key("many", "many"),
        key("calm", "none"),
    ];
    let keys = keys.concat();
    format!("[auth]\nenabled = true\n{keys}")
}

/// So slow that nothing comes back while a test lasts.
const CLASSES: &str = "
[quotas.few]
requests_per_second = 0.01
requests_burst = 3
rows_per_day = 100

[quotas.many]
requests_per_second = 100000

[quotas.many.models.slow]
concurrent_requests = 1

[quotas.none]
";

struct Bench {
    server: TestServer,
    /// Held as long as the server.
    _files: (TestRepository, tempfile::TempDir),
}

impl Bench {
    fn start(more: &str) -> Self {
        let repository = TestRepository::new().unwrap();
        repository.identity("digits", &byte_model(&[])).unwrap();
        let slow = [("execute_delay_ms", "1500")];
        repository.identity("slow", &byte_model(&slow)).unwrap();
        let steady = [("execute_delay_ms", "20")];
        repository.identity("steady", &byte_model(&steady)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("adulis.toml");
        fs::write(&file, format!("{}{CLASSES}{more}", keys())).unwrap();
        let (models, file) = (repository.path().to_str().unwrap(), file.to_str().unwrap());
        let server = TestServer::start(BINARY, &[models, "--config", file]).unwrap();
        Self { server, _files: (repository, folder) }
    }

    async fn rest(&self, key: &str, model: &str) -> RawResponse {
        let header = format!("authorization: Bearer {key}-key");
        self.server.infer(model, &[&header], &byte_json(7)).await.unwrap()
    }

    async fn grpc(&self, client: &mut Client, key: &str, model: &str) -> Result<Told, Status> {
        let mut request = Request::new(byte_message(model, 7));
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {key}-key").parse().unwrap());
        client.model_infer(request).await.map(|response| Told::of(response.metadata()))
    }
}

/// What metadata say of limits.
#[derive(Debug)]
struct Told {
    policy: String,
    state: String,
}

impl Told {
    fn of(metadata: &tonic::metadata::MetadataMap) -> Self {
        let text = |name: &str| metadata.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        Self { policy: text("ratelimit-policy"), state: text("ratelimit") }
    }
}

const POLICY: &str = r#""requests";q=3;w=300, "rows-per-day";q=100;w=86400;qu="rows""#;

#[tokio::test]
async fn both_protocols_count_together_and_tell_the_same() {
    let bench = Bench::start("");
    bench.server.ready().await;
    let mut client = grpc(&bench.server).await;

    let answer = bench.rest("greedy", "digits").await;
    assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, Some(POLICY)));
    assert!(
        answer
            .header("ratelimit")
            .unwrap()
            .starts_with(r#""requests";r=2;t=100, "rows-per-day";r=99;t="#)
    );
    let told = bench.grpc(&mut client, "greedy", "digits").await.unwrap();
    assert_eq!(told.policy, POLICY);
    assert!(told.state.starts_with(r#""requests";r=1;"#), "{told:?}");
    assert_eq!(bench.rest("greedy", "digits").await.status, 200);

    let refused = bench.rest("greedy", "digits").await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((90..=100).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("ratelimit-policy"), Some(POLICY));
    let state = refused.header("ratelimit").unwrap();
    let next = state.strip_prefix(r#""requests";r=0;t="#).and_then(|rest| rest.split(',').next());
    assert!(next.unwrap().parse::<u64>().unwrap() <= seconds, "{state}, and {seconds} s");
    let message = "quota 'few' allows 0.01 requests per second and 3 at once: try again in ";
    assert!(refused.text().contains(message), "{}", refused.text());
    assert!(!refused.text().contains("greedy"), "{}", refused.text());

    let status = bench.grpc(&mut client, "greedy", "digits").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with(message), "{status}");
    let told = Told::of(status.metadata());
    assert!(told.policy == POLICY && told.state.starts_with(r#""requests";r=0;"#), "{told:?}");
    let pushback: u64 = status
        .metadata()
        .get("grpc-retry-pushback-ms")
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((90_000..=100_000).contains(&pushback), "{pushback}");

    assert_eq!(bench.rest("modest", "digits").await.status, 200, "another of the class has its own");
    assert_eq!(bench.rest("many", "digits").await.status, 200);
    let refusals = bench
        .server
        .metric("adulis_quota_requests_total", &["class=\"few\"", "outcome=\"requests\""]);
    assert_eq!(refusals.await.unwrap(), 2.0);
}

#[tokio::test]
async fn in_a_stream_each_request_counts() {
    let bench = Bench::start("");
    bench.server.ready().await;
    let mut client = grpc(&bench.server).await;
    let five = |key: &str| {
        let messages: Vec<_> = (0..5).map(|_| byte_message("digits", 7)).collect();
        let mut request = Request::new(tokio_stream::iter(messages));
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {key}-key").parse().unwrap());
        request
    };
    let answers = client.model_stream_infer(five("greedy")).await.unwrap().into_inner();
    let errors: Vec<String> = answers.map(|answer| answer.unwrap().error_message).collect().await;
    assert!(errors.len() == 5 && errors[..3].iter().all(String::is_empty), "{errors:?}");
    assert!(errors[3..].iter().all(|error| error.contains("try again in ")), "{errors:?}");

    let mut request = five("modest");
    request.metadata_mut().insert("triton_grpc_error", "true".parse().unwrap());
    let mut answers = client.model_stream_infer(request).await.unwrap().into_inner();
    for _ in 0..3 {
        assert!(answers.next().await.unwrap().is_ok());
    }
    let status = answers.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let told = Told::of(status.metadata());
    assert!(told.policy == POLICY && told.state.starts_with(r#""requests";r=0;"#), "{told:?}");
}

/// Without fair shares it would wait for all that the other one has in the queue, each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_greedy_client_does_not_starve_a_modest_one() {
    const GREEDY: u32 = 40;
    const MODEST: u32 = 8;
    let bench = Bench::start("");
    bench.server.ready().await;
    let (stop, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let asks_on = async || {
        while !stop.load(Ordering::SeqCst) {
            assert_eq!(bench.rest("many", "steady").await.status, 200);
            answered.fetch_add(1, Ordering::SeqCst);
        }
    };
    let greedy = futures_util::future::join_all((0..GREEDY).map(|_| asks_on()));
    let modest = async {
        while bench.server.metric("adulis_queue_requests", &["steady"]).await.unwrap() < 30.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let before = answered.load(Ordering::SeqCst);
        for _ in 0..MODEST {
            assert_eq!(bench.rest("calm", "steady").await.status, 200);
        }
        let meanwhile = answered.load(Ordering::SeqCst) - before;
        stop.store(true, Ordering::SeqCst);
        meanwhile
    };
    let (_, meanwhile) = tokio::join!(greedy, modest);
    // For each of its own, the one that was under way and one in turn; and what had been answered before it was seen.
    assert!(
        meanwhile <= 6 * MODEST,
        "{meanwhile} of the greedy client's went before {MODEST} of the modest one's"
    );
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_back() {
    let bench = Bench::start("");
    bench.server.ready().await;
    let (held, other) = (bench.rest("many", "slow"), async {
        // The first is under way by then: it takes longer.
        tokio::time::sleep(Duration::from_millis(400)).await;
        bench.rest("many", "slow").await
    });
    let (first, second) = tokio::join!(held, other);
    assert_eq!((first.status, second.status), (200, 429), "{}", second.text());
    assert_eq!(second.header("ratelimit"), Some(r#""concurrent-requests";r=0"#));
    assert_eq!(second.header("retry-after"), Some("1"), "nobody knows when");
    assert!(second.text().contains("1 requests at a time of model 'slow'"), "{}", second.text());

    let gone = tokio::time::timeout(Duration::from_millis(400), bench.rest("many", "slow")).await;
    assert!(gone.is_err(), "it takes longer");
    let begun = Instant::now();
    loop {
        let status = bench.rest("many", "slow").await.status;
        if status == 200 {
            break;
        }
        assert!(status == 429 && begun.elapsed() < PATIENCE, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn sharing(redis: &BackingServer) -> String {
    format!(
        "[quota_state]\nlease = '2s'\n[quota_state.redis]\nurl = 'redis://{}'\n\
         [quota_state.redis.pool]\ntimeout = '300ms'\nacquire_timeout = '300ms'\n",
        redis.address()
    )
}

#[tokio::test]
async fn a_server_that_is_killed_gives_its_places_back_when_their_leases_end() {
    let redis = BackingServer::redis(&[]);
    let (one, other) = (Bench::start(&sharing(&redis)), Bench::start(&sharing(&redis)));
    for bench in [&one, &other] {
        bench.server.ready().await;
    }
    let mut connection = one.server.connect().await.unwrap();
    let held = tokio::spawn(async move {
        let header = "authorization: Bearer many-key";
        connection.request("POST /v2/models/slow/infer", &[header], byte_json(7).as_bytes()).await
    });
    one.server.metric_reaches("adulis_executing_batches", &["model=\"slow\""], 1.0).await;
    assert_eq!(other.rest("many", "slow").await.status, 429, "the place is taken");
    drop(one);
    assert!(held.await.unwrap().is_err(), "it was killed before its answer");
    let killed = Instant::now();
    assert_eq!(other.rest("many", "slow").await.status, 429, "nobody has given it back");
    while other.rest("many", "slow").await.status != 200 {
        assert!(killed.elapsed() < PATIENCE, "the place is lost");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn servers_that_share_a_redis_count_together_and_go_on_without_it() {
    let mut redis = BackingServer::redis(&[]);
    let shared = sharing(&redis);
    let (one, other) = (Bench::start(&shared), Bench::start(&shared));
    for bench in [&one, &other] {
        bench.server.ready().await;
    }
    let mut statuses = Vec::new();
    for bench in [&one, &other, &one, &other, &one] {
        statuses.push(bench.rest("greedy", "digits").await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    redis.kill();
    for bench in [&one, &other] {
        let statuses = [
            bench.rest("modest", "digits").await.status,
            bench.rest("greedy", "digits").await.status,
        ];
        assert_eq!(statuses, [200, 429], "nobody fails, and what was counted holds still");
        let unshared = bench.server.metric("adulis_quota_unshared_total", &[]).await.unwrap();
        assert_eq!(unshared, 2.0);
    }
    let begun = Instant::now();
    loop {
        let ready = one.server.get("/v2/health/ready").await.unwrap();
        assert_eq!(ready.status, 200, "it is ready whatever Redis is");
        if ready.text().contains(r#""quota_redis":{"up":false"#) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", ready.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
