//! Workers that are killed, stopped and left alone by their server.

use std::io::Write;
use std::time::{Duration, Instant};

use adulis_testing::{
    IdentityModel, ProcessSignal, StopSignal, TestRepository, children, is_alive, send_signal,
};

use crate::load::Load;
use crate::support::{byte_json, byte_model, serve};
use crate::{deaths, workers};

/// Requests share batches of up to eight, each of which takes two milliseconds.
fn batching() -> TestRepository {
    let repository = TestRepository::new().unwrap();
    let model = IdentityModel {
        max_batch_size: 8,
        more: "dynamic_batching { } instance_group [ { count: 2 kind: KIND_CPU } ]",
        ..byte_model(&[("execute_delay_microseconds", "2000")])
    };
    repository.identity("byte", &model).unwrap();
    repository
}

/// Ends one worker after the other, so many times in all, each when all of them answer again: a batch is tried on two workers,
/// and is to meet the end of one.
async fn ended_under_load((expected, more): (u32, &[&str]), times: u32, signal: ProcessSignal, cause: &str) {
    let repository = batching();
    let server = serve(&repository, &[&["--workers", &expected.to_string()], more].concat());
    server.ready().await;
    let load = Load::start(&server, "byte", 12).await;
    let label = format!("cause=\"{cause}\"");
    for time in 0..times {
        server.metric_reaches("adulis_workers", &[], f64::from(expected)).await;
        let running = workers(&server, expected as usize).await;
        let victim = running[time as usize % running.len()];
        server
            .wait("the end of a worker", async || {
                // Again and again: Rust's own handler of SIGSEGV takes the first as news of a stack that is full.
                let is_gone = send_signal(victim, signal).is_err() || !is_alive(victim);
                is_gone.then_some(())
            })
            .await;
        server.metric_reaches("adulis_worker_deaths_total", &[&label], f64::from(time + 1)).await;
        // Whatever was under way when it ended.
        load.go_on(&server, &load.answered(), 2).await;
    }
    let answered = load.stop().await;
    // For whoever runs the long form.
    let _ = writeln!(std::io::stderr(), "{times} workers ended, {answered} requests answered");
    assert!(answered > 100, "{answered}");
    assert_eq!(deaths(&server, "").await, f64::from(times), "{}", server.log());
    let failed = "adulis_inference_requests_total";
    assert_eq!(server.metric(failed, &["outcome=\"internal\""]).await.unwrap(), 0.0, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_under_load_cost_no_request() {
    ended_under_load((2, &[]), 8, ProcessSignal::Kill, "killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_worker_that_is_killed_under_load_costs_no_request() {
    ended_under_load((1, &[]), 4, ProcessSignal::Kill, "killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_crash_under_load_cost_no_request() {
    ended_under_load((2, &[]), 4, ProcessSignal::Segfault, "segfault").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long form, by hand: cargo nextest run --workspace --run-ignored only --no-capture killed_for_long"]
async fn workers_that_are_killed_for_long_cost_no_request() {
    // Many more than are forgiven without a pause.
    ended_under_load((2, &["--set", "workers.max_delay=100ms"]), 1000, ProcessSignal::Kill, "killed").await;
}

/// A worker that stands still answers no pings: it is killed, and another runs what it had.
#[tokio::test]
async fn a_worker_that_stands_still_is_replaced() {
    let repository = TestRepository::new().unwrap();
    repository
        .identity("byte", &byte_model(&[("execute_delay_microseconds", "300000")]))
        .unwrap();
    let pings = [
        "--set",
        "workers.ping_interval=50ms",
        "--set",
        "workers.ping_timeout=500ms",
    ];
    let server = serve(&repository, &[&["--workers", "1"][..], &pings].concat());
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    let request = tokio::spawn(async move {
        connection.request("POST /v2/models/byte/infer", &[], byte_json(7).as_bytes()).await
    });
    server.metric_reaches("adulis_executing_batches", &[], 1.0).await;
    let [worker] = workers(&server, 1).await[..] else {
        panic!("one worker");
    };
    send_signal(worker, ProcessSignal::Stop).unwrap();
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(deaths(&server, "stuck").await, 1.0, "{}", server.log());
    assert_eq!(server.metric("adulis_worker_retried_batches_total", &[]).await.unwrap(), 1.0);
    assert!(!is_alive(worker));
}

/// A model whose worker is away for seconds takes no execution thread from others, not even the only one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_waits_for_its_worker_keeps_no_other_from_running() {
    let repository = TestRepository::new().unwrap();
    // Too long to be run where the request arrives.
    let parameters = [("execute_delay_microseconds", "2000")];
    repository.identity("isolated", &byte_model(&parameters)).unwrap();
    let here = [parameters[0], ("isolation", "none")];
    repository.identity("plain", &byte_model(&here)).unwrap();
    let settings = [
        "engine.execution_threads=1",
        "workers.min_delay=4s",
        "workers.max_delay=4s",
    ];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["--workers", "1"].into_iter().chain(settings).collect();
    let server = serve(&repository, &arguments);
    server.ready().await;
    // The first has answered when the model was tried, and the second nothing: the third is started after a delay.
    let first = workers(&server, 1).await[0];
    send_signal(first, ProcessSignal::Kill).unwrap();
    let second = async || children(server.pid()).ok()?.into_iter().find(|worker| *worker != first);
    let second = server.wait("a second worker", second).await;
    send_signal(second, ProcessSignal::Kill).unwrap();
    server.metric_reaches("adulis_worker_deaths_total", &[], 2.0).await;
    let mut connection = server.connect().await.unwrap();
    let waiting = tokio::spawn(async move {
        connection.request("POST /v2/models/isolated/infer", &[], byte_json(7).as_bytes()).await
    });
    server.metric_reaches("adulis_executing_batches", &["model=\"isolated\""], 1.0).await;
    for byte in 0..3 {
        let answer = server.infer("plain", &[], &byte_json(byte)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(!waiting.is_finished(), "it should wait for its worker");
    assert_eq!(server.metric("adulis_execution_threads_busy", &[]).await.unwrap(), 0.0);
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = server.infer("plain", &[], &byte_json(9)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A worker that is away for longer than a run may take costs no request: to wait for one is not to run.
#[tokio::test]
async fn the_time_that_a_worker_takes_to_start_is_no_time_of_the_run() {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[("max_execution_time", "100ms")])).unwrap();
    let settings = ["workers.min_delay=1500ms", "workers.max_delay=1500ms"];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["--workers", "1"].into_iter().chain(settings).collect();
    let server = serve(&repository, &arguments);
    server.ready().await;
    // The second has answered nothing: the next one is started after a delay.
    for deaths in [1.0, 2.0] {
        server.metric_reaches("adulis_workers", &[], 1.0).await;
        send_signal(workers(&server, 1).await[0], ProcessSignal::Kill).unwrap();
        server.metric_reaches("adulis_worker_deaths_total", &[], deaths).await;
    }
    let begun = Instant::now();
    let answer = server.infer("byte", &[], &byte_json(7)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(begun.elapsed() > Duration::from_millis(400), "it did not wait: {:?}", begun.elapsed());
    assert_eq!(
        server.metric("adulis_execution_limit_exceeded_total", &[]).await.unwrap(),
        0.0,
        "{}",
        server.log()
    );
}

/// A run that hangs is ended with its worker: no thread of the server's is stuck, and the next request is answered.
#[tokio::test]
async fn a_run_that_does_not_end_is_ended_with_its_worker() {
    let repository = TestRepository::new().unwrap();
    let parameters = [("hang_on", "113"), ("max_execution_time", "200ms")];
    repository.identity("byte", &byte_model(&parameters)).unwrap();
    let server = serve(&repository, &["--workers", "1"]);
    server.ready().await;
    let answer = server.infer("byte", &[], &byte_json(113)).await.unwrap();
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("max_execution_time"), "{}", answer.text());
    let answer = server.infer("byte", &[], &byte_json(1)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(deaths(&server, "overrun").await, 1.0, "{}", server.log());
    let killed = server.metric("adulis_execution_limit_exceeded_total", &["outcome=\"killed\""]);
    assert_eq!(killed.await.unwrap(), 1.0);
    assert_eq!(server.metric("adulis_execution_threads_stuck", &[]).await.unwrap(), 0.0);
}

/// Nobody is left behind, however the server ends.
#[tokio::test]
async fn workers_end_with_their_server() {
    for is_killed in [true, false] {
        let repository = batching();
        let mut server = serve(&repository, &["--workers", "2"]);
        server.ready().await;
        let running = workers(&server, 2).await;
        if is_killed {
            send_signal(server.pid(), ProcessSignal::Kill).unwrap();
        } else {
            // As an orchestrator does that signals all processes of a service.
            running.iter().for_each(|pid| send_signal(*pid, ProcessSignal::Terminate).unwrap());
            let answer = server.infer("byte", &[], &byte_json(1)).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            server.signal(StopSignal::Terminate).unwrap();
        }
        let status = server.exit(Duration::from_secs(20)).await.unwrap();
        assert_eq!(status.code(), if is_killed { None } else { Some(0) }, "{}", server.log());
        let begun = Instant::now();
        while running.iter().any(|pid| is_alive(*pid)) {
            assert!(begun.elapsed() < Duration::from_secs(10), "workers live on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
