//! Stopping: what is in flight is finished, a second signal does not wait.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use adulis_testing::{RawConnection, StopSignal, TestRepository, TestServer};
use tokio::task::JoinSet;

use crate::support::{byte_json, byte_message, byte_model, grpc, serve};

const IN_FLIGHT: &str = "adulis_requests_in_flight";

/// One model `slow`, whose runs take so many milliseconds.
async fn slow(milliseconds: u32, arguments: &[&str]) -> (TestServer, TestRepository) {
    let repository = TestRepository::new().unwrap();
    let delay = (milliseconds * 1000).to_string();
    repository
        .identity("slow", &byte_model(&[("execute_delay_microseconds", &delay)]))
        .unwrap();
    let server = serve(&repository, &[&["--execution-threads", "2"], arguments].concat());
    server.ready().await;
    (server, repository)
}

#[tokio::test]
async fn a_signal_under_load_loses_nothing_in_flight() {
    let (mut server, _repository) = slow(200, &[]).await;
    let mut requests = JoinSet::new();
    let client = grpc(&server).await;
    for byte in 0..4 {
        let mut client = client.clone();
        requests.spawn(async move {
            let answer = client.model_infer(byte_message("slow", byte)).await;
            answer
                .map(|answer| assert_eq!(answer.get_ref().raw_output_contents, [vec![byte]]))
                .is_ok()
        });
        let mut connection = server.connect().await.unwrap();
        requests.spawn(async move {
            let body = byte_json(byte);
            let answer = connection.request("POST /v2/models/slow/infer", &[], body.as_bytes()).await;
            answer.is_ok_and(|answer| answer.status == 200 && answer.text().contains(&format!("[{byte}]")))
        });
    }
    server.metric_reaches(IN_FLIGHT, &[], 8.0).await;
    let address = server.address("http").await;
    server.signal(StopSignal::Terminate).unwrap();

    assert_eq!(requests.join_all().await, [true; 8], "{}", server.log());
    assert_eq!(server.exit(Duration::from_secs(20)).await.unwrap().code(), Some(0), "{}", server.log());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn before_it_stops_accepting_it_says_that_it_is_not_ready() {
    let (mut server, _repository) = slow(1, &["--set", "server.lame_duck=3s"]).await;
    server.signal(StopSignal::Interrupt).unwrap();
    server.logged(&["shutting down", "SIGINT"]).await;
    let ready = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(ready.status, 503, "{}", ready.text());
    let answer = server.infer("slow", &[], &byte_json(1)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.exit(Duration::from_secs(20)).await.unwrap().code(), Some(0), "{}", server.log());
}

#[tokio::test]
async fn a_signal_while_models_are_loading_is_no_error() {
    let repository = TestRepository::new().unwrap();
    repository.identity("slow", &byte_model(&[("load_delay_ms", "1500")])).unwrap();
    let mut server = serve(&repository, &[]);
    server.address("http").await;
    #[cfg(target_os = "linux")]
    loading(&server).await;
    server.signal(StopSignal::Terminate).unwrap();
    assert_eq!(server.exit(Duration::from_secs(20)).await.unwrap().code(), Some(0), "{}", server.log());
    server.logged(&["told to stop before it was ready"]).await;
    assert!(!server.log().contains("\"ERROR\""), "{}", server.log());
}

/// Waits until a model is being loaded.
#[cfg(target_os = "linux")]
async fn loading(server: &TestServer) {
    let tasks = format!("/proc/{}/task", server.pid());
    let begun = async || {
        let mut threads = std::fs::read_dir(&tasks).ok()?.flatten();
        let is_loader = |name: String| name.trim() == "adulis-load";
        threads
            .any(|thread| std::fs::read_to_string(thread.path().join("comm")).is_ok_and(is_loader))
            .then_some(())
    };
    server.wait("a thread that loads models", begun).await;
    // It is there, and takes its task.
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// Loads that have not begun are given up, and one that does not end keeps the process no longer than a run that hangs.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_signal_waits_neither_for_loads_that_have_not_begun_nor_for_one_that_hangs() {
    let repository = TestRepository::new().unwrap();
    for (name, milliseconds) in [("a", "2000"), ("b", "2000"), ("c", "2000"), ("d", "2000")] {
        repository.identity(name, &byte_model(&[("load_delay_ms", milliseconds)])).unwrap();
    }
    let mut server = serve(&repository, &["--set", "engine.load_threads=1"]);
    loading(&server).await;
    let begun = Instant::now();
    server.signal(StopSignal::Terminate).unwrap();
    assert_eq!(server.exit(Duration::from_secs(20)).await.unwrap().code(), Some(0), "{}", server.log());
    assert!(begun.elapsed() < Duration::from_millis(4500), "{:?}", begun.elapsed());
    server.logged(&["told to stop before it was ready"]).await;

    let repository = TestRepository::new().unwrap();
    repository.identity("hangs", &byte_model(&[("load_delay_ms", "3600000")])).unwrap();
    let mut server = serve(&repository, &[]);
    loading(&server).await;
    server.signal(StopSignal::Terminate).unwrap();
    assert_eq!(server.exit(Duration::from_secs(20)).await.unwrap().code(), Some(0), "{}", server.log());
    server.logged(&["does not end: the process ends without it"]).await;
}

/// A named pipe without a reader: whoever opens it to write to it waits.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_signal_ends_a_server_that_has_not_begun_to_serve() {
    let repository = TestRepository::new().unwrap();
    repository.identity("byte", &byte_model(&[])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("audit");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let audit = format!("audit.file={}", pipe.display());
    let mut server = serve(&repository, &["--set", &audit]);
    let status = format!("/proc/{}/status", server.pid());
    let catches_signals = async || {
        let status = std::fs::read_to_string(&status).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        // SIGTERM is number 15, of which the first is bit 0.
        (caught & 1 << 14 != 0).then_some(())
    };
    server.wait("a server that catches SIGTERM", catches_signals).await;
    server.signal(StopSignal::Terminate).unwrap();
    assert_eq!(server.exit(Duration::from_secs(5)).await.unwrap().code(), Some(0), "{}", server.log());
    server.logged(&["told to stop before it could serve", "SIGTERM"]).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (mut server, _repository) = slow(3000, &[]).await;
    let mut connection = server.connect().await.unwrap();
    let request = tokio::spawn(async move {
        connection.request("POST /v2/models/slow/infer", &[], byte_json(1).as_bytes()).await
    });
    server.metric_reaches(IN_FLIGHT, &[], 1.0).await;
    server.signal(StopSignal::Terminate).unwrap();
    server.logged(&["shutting down", "SIGTERM"]).await;
    let second = Instant::now();
    server.signal(StopSignal::Terminate).unwrap();
    let status = server.exit(Duration::from_secs(2)).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", server.log());
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    assert!(request.await.unwrap().is_err(), "nobody can have answered");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let (mut server, _repository) = slow(1500, &["--set", "server.drain_timeout=200ms"]).await;
    let mut connection = server.connect().await.unwrap();
    let request = tokio::spawn(async move {
        connection.request("POST /v2/models/slow/infer", &[], byte_json(1).as_bytes()).await
    });
    server.metric_reaches(IN_FLIGHT, &[], 1.0).await;
    server.signal(StopSignal::Terminate).unwrap();
    assert!(request.await.unwrap().is_err(), "the run takes longer than the drain");
    server.exit(Duration::from_secs(20)).await.unwrap();
    assert!(server.log().contains("cut off at the end of the drain time"), "{}", server.log());
}

/// A run that hangs keeps neither its client's connection nor the process.
#[tokio::test]
async fn a_run_that_hangs_does_not_keep_the_process() {
    let repository = TestRepository::new().unwrap();
    repository.identity("slow", &byte_model(&[("hang_on", "7")])).unwrap();
    let arguments = [
        "--set",
        "engine.inline_threshold=0s",
        "--set",
        "server.drain_timeout=100ms",
    ];
    let mut server = serve(&repository, &arguments);
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    let request = tokio::spawn(async move {
        connection.request("POST /v2/models/slow/infer", &[], byte_json(7).as_bytes()).await
    });
    server.metric_reaches(IN_FLIGHT, &[], 1.0).await;
    server.signal(StopSignal::Terminate).unwrap();
    assert!(request.await.unwrap().is_err(), "nobody can have answered");
    let status = server.exit(Duration::from_secs(20)).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(server.log().contains("does not end: the process ends without it"), "{}", server.log());
}

/// How the server ended a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// With an answer that said so.
    Told,
    /// Before a byte of the last request's answer.
    Unanswered,
}

/// Asks again and again on one connection until the server closes it. Every answer must be whole.
async fn ask_until_closed(mut connection: RawConnection, byte: u8) -> Ending {
    let body = byte_json(byte);
    loop {
        match connection.request("POST /v2/models/slow/infer", &[], body.as_bytes()).await {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(answer.text().contains(&format!("[{byte}]")), "{}", answer.text());
                if answer.header("connection") == Some("close") {
                    assert!(connection.closed_within(Duration::from_secs(10)).await);
                    return Ending::Told;
                }
            }
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    ErrorKind::UnexpectedEof,
                    "the connection did not end cleanly: {error}"
                );
                assert!(!connection.is_amid_response(), "an answer was cut short");
                return Ending::Unanswered;
            }
        }
        if byte.is_multiple_of(4) {
            // So that the signal meets connections between two requests, too.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_signal_under_continuous_traffic_cuts_no_answer_short() {
    let (mut server, _repository) = slow(0, &["--set", "engine.max_queued_rows=0"]).await;
    let mut clients = JoinSet::new();
    for byte in 0..64 {
        let connection = server.connect().await.unwrap();
        clients.spawn(ask_until_closed(connection, byte));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.signal(StopSignal::Terminate).unwrap();
    let endings = clients.join_all().await;
    // None was kept from its next request for the second that the server waits for it.
    assert_eq!(endings, [Ending::Told; 64], "each connection ends with an answer");
    assert_eq!(server.exit(Duration::from_secs(20)).await.unwrap().code(), Some(0), "{}", server.log());
    assert!(!server.log().contains("cut off"), "{}", server.log());
}
