//! The load generator against servers of this process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use adulis_bench::{Outcome, run};
use support::{Behaviour, LAZY, arguments, echo, grpc_echo};

async fn bench(words: &str) -> Outcome {
    run(arguments(words)).await.unwrap()
}

/// Short windows, and no wait for agreement.
const SHORT: &str =
    "--warmup 50ms --measurement-interval 150ms --windows 2 --max-windows 2 --threads 1 --quiet";

/// The same from the first request on.
const COLD: &str = "--warmup 0 --measurement-interval 150ms --windows 2 --max-windows 2 --threads 1 --quiet";

#[tokio::test]
async fn rest_in_json_and_binary_verified() {
    let server = echo(Behaviour::Prompt).await;
    for protocol in ["rest-json", "rest-binary"] {
        let outcome = bench(&format!(
            "-m identity -u {} --protocol {protocol} --concurrency 1,4 -b 3 --verify --metrics-url {}/metrics \
             --server-pid {} --header x-key:secret {SHORT}",
            server.url,
            server.url,
            std::process::id()
        ))
        .await;
        assert_eq!(outcome.failure, None);
        assert_eq!(outcome.report.results.len(), 2);
        for result in &outcome.report.results {
            assert!(result.requests > 10, "{result:?}");
            assert_eq!(result.failed, 0, "{result:?}");
            assert!((result.rows_per_second / result.requests_per_second - 3.0).abs() < 1e-6);
            assert!(result.service_latency.p50_microseconds <= result.service_latency.max_microseconds);
            assert!(result.server_cpu_microseconds_per_request.is_some_and(|cpu| cpu > 0.0));
            let stage = &result.server_stages[0];
            // The server says two milliseconds for each request that it counts.
            assert_eq!(stage.stage, "total");
            assert!((stage.mean_microseconds - 2000.0).abs() < 1.0, "{stage:?}");
        }
    }
}

#[tokio::test]
async fn grpc_over_shared_connections_verified() {
    let url = grpc_echo().await;
    let outcome = bench(&format!("-m identity -u {url} -c 5 --streams 2 --verify {SHORT}")).await;
    assert_eq!(outcome.failure, None);
    let result = &outcome.report.results[0];
    assert_eq!((result.failed, result.protocol.as_str()), (0, "grpc"));
    assert!(result.requests > 10);
    let outcome = bench(&format!("-m nobody --input X:FP32:1 -u {url} {SHORT}")).await;
    let failure = outcome.failure.unwrap();
    assert!(failure.contains("gRPC NOT_FOUND: no model nobody"), "{failure}");
}

#[tokio::test]
async fn idle_connections_are_held_beside_the_load() {
    let server = echo(Behaviour::Prompt).await;
    let outcome = bench(&format!("-m identity -u {} -c 4 --idle 200 {SHORT}", server.url)).await;
    assert_eq!(outcome.failure, None);
    let idle = outcome.report.idle.unwrap();
    assert_eq!((idle.connections, idle.lost), (200, 0));
    assert!(outcome.report.results[0].requests > 10);
    let fault = run(arguments("-m x --input X:FP32:1 -u grpc://127.0.0.1:1 --idle 1 --quiet")).await;
    assert!(fault.unwrap_err().to_string().contains("--idle holds connections of REST"));
}

#[tokio::test]
async fn a_stall_is_seen_by_every_request_that_was_meant_to_be_sent_in_it() {
    let server =
        echo(Behaviour::Stall { after: Duration::from_millis(400), length: Duration::from_secs(1) }).await;
    let outcome = bench(&format!(
        "--raw /echo --input X:FP32:1,16 -u {} --rate 200 --distribution constant --connections 4 --threads 1 \
         --warmup 0 --measurement-interval 2500ms --windows 1 --quiet",
        server.url
    ))
    .await;
    let result = &outcome.report.results[0];
    let response = result.response_latency.unwrap();
    // 200 of the 500 requests fall into the stall and wait half a second on average; only four were in flight.
    assert!(response.p99_microseconds > 900_000.0, "{response:?}");
    assert!(response.p90_microseconds > 600_000.0, "{response:?}");
    assert!(result.service_latency.p95_microseconds < 300_000.0, "{:?}", result.service_latency);
    assert!(result.lateness.unwrap().p90_microseconds > 500_000.0);
    assert!((result.requests_per_second - 200.0).abs() < 20.0, "{}", result.requests_per_second);
}

#[tokio::test]
async fn refusals_are_counted_by_kind_and_decide_the_outcome() {
    let server = echo(Behaviour::RefuseEvery(1)).await;
    let all = format!("--raw /echo --input X:FP32:1 -u {} -c 2 {SHORT}", server.url);
    let failure = bench(&all).await.failure.unwrap();
    assert!(failure.contains("HTTP 503: queue is full"), "{failure}");

    let server = echo(Behaviour::RefuseEvery(2)).await;
    let half = format!("--raw /echo --input X:FP32:1 -u {} -c 2 {SHORT}", server.url);
    let outcome = bench(&half).await;
    assert_eq!(outcome.failure, None);
    let result = &outcome.report.results[0];
    assert!((result.error_rate() - 0.5).abs() < 0.1, "{}", result.error_rate());
    assert!(bench(&format!("{half} --max-error-rate 0.9")).await.failure.is_none());
    assert!(bench(&format!("{half} --max-error-rate 0.1")).await.failure.is_some());
}

#[tokio::test]
async fn answers_that_mean_nothing_fail_only_when_verified() {
    let server = echo(Behaviour::Prompt).await;
    // The echo path answers with the request, which is no response of this shape.
    let url = format!("-m identity --input X:FP32:1,4 -u {}/mirror {SHORT}", server.url);
    assert_eq!(bench(&url).await.failure, None);
    let failure = bench(&format!("{url} --verify")).await.failure.unwrap();
    assert!(failure.contains("undecodable"), "{failure}");
}

#[tokio::test]
async fn two_servers_are_compared_window_by_window() {
    let fast = echo(Behaviour::Prompt).await;
    let slow = echo(Behaviour::Slow(Duration::from_millis(10))).await;
    let outcome =
        bench(&format!("-m identity -u {} --compare {} --raw /echo -c 2 {SHORT}", fast.url, slow.url)).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.report.results.len(), 2);
    assert_eq!(outcome.report.results[1].protocol, "rest-binary to /echo");
    let comparison = &outcome.report.comparisons[0];
    assert!(comparison.throughput.min > 1.0, "{comparison:?}");
    assert!(comparison.p50.max < 1.0, "{comparison:?}");
}

#[tokio::test]
async fn two_models_of_one_server_are_compared() {
    let server = echo(Behaviour::Prompt).await;
    let outcome = bench(&format!(
        "-m identity --compare-model lazy -u {} --server-pid {} -c 2 {SHORT}",
        server.url,
        std::process::id()
    ))
    .await;
    assert_eq!(outcome.failure, None);
    let models: Vec<_> = outcome.report.results.iter().map(|result| result.model.as_deref()).collect();
    assert_eq!(models, [Some("identity"), Some("lazy")]);
    let comparison = &outcome.report.comparisons[0];
    assert_eq!(comparison.pairs.len(), 2);
    for pair in &comparison.pairs {
        assert!(pair.first.p50_microseconds < 10_000.0, "{pair:?}");
        assert!(pair.second.p50_microseconds >= LAZY.as_secs_f64() * 1e6 * 0.99, "{pair:?}");
        assert_eq!((pair.first.failed, pair.second.failed), (0, 0));
        // One process serves both.
        assert!(pair.second.server_cpu_microseconds_per_request.is_some(), "{pair:?}");
    }
    assert!(comparison.throughput.min > 1.0, "{comparison:?}");
}

#[tokio::test]
async fn what_cannot_be_measured_is_an_error() {
    let server = echo(Behaviour::Prompt).await;
    for (words, part) in [
        ("-m nobody -u URL".to_owned(), "HTTP 404: no model nobody"),
        ("-m identity -u URL --shape Y:1".to_owned(), "`Y`, which is no input"),
        ("-m identity -u URL --metrics-url http://127.0.0.1:1/".to_owned(), "no metrics"),
        ("-m identity -u URL -c 1.5".to_owned(), "whole number"),
        (format!("-m identity -u URL --server-pid {}", u32::MAX), "/proc/"),
    ] {
        let words = format!("{} {SHORT}", words.replace("URL", &server.url));
        let error = run(arguments(&words)).await.unwrap_err();
        assert!(format!("{error:#}").contains(part), "{words}: {error:#}");
    }
}

#[tokio::test]
async fn files_hold_what_was_measured() {
    let server = echo(Behaviour::Prompt).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    bench(&format!(
        "-m identity -u {} --rate 200 --json {} --csv {} {SHORT}",
        server.url,
        path("out.json"),
        path("out.csv")
    ))
    .await;
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path("out.json")).unwrap()).unwrap();
    assert_eq!(json["results"][0]["rate"], 200.0);
    assert!(json["results"][0]["response_latency"]["p99_microseconds"].is_number());
    let csv = std::fs::read_to_string(path("out.csv")).unwrap();
    assert_eq!(csv.lines().count(), 2, "{csv}");
}

#[tokio::test]
async fn requests_are_drawn_and_what_a_response_cache_did_is_counted() {
    for (law, least, most) in [
        ("--zipf 1.2 --distinct 40", 1, 40),
        ("--repeat-ratio 0.9", 1, u64::MAX),
    ] {
        let server = echo(Behaviour::Prompt).await;
        let outcome = bench(&format!("-m identity -u {} -c 3 --seed 7 {law} {COLD}", server.url)).await;
        assert_eq!(outcome.failure, None);
        let result = &outcome.report.results[0];
        let cache = result.cache.unwrap();
        assert_eq!(cache.total(), result.requests, "each answer says so: {cache:?}");
        assert!((least..=most).contains(&cache.miss), "{cache:?}");
        assert_eq!(result.cache_by_window.iter().map(|window| window.hit).sum::<u64>(), cache.hit);
        // One that finds its like in flight is a repeat and a hit, too: the server notes a request as it comes.
        let hits = cache.hit as f64 / result.requests as f64;
        let share = result.repeat_share.unwrap();
        assert!((share - hits).abs() < 0.05, "{share} repeats, {hits} hits of {}", result.requests);
        if law.contains("ratio") {
            assert!(share > 0.5, "{share}: new ones are one in ten");
        }
    }
}
