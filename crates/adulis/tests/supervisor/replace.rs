//! A fresh server in the place of the one that serves, under load.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use adulis_testing::{ProcessSignal, RawConnection, TestRepository, TestServer, is_alive, send_signal};

use crate::client::Clients;
use crate::{behind, repository, up, up_at, write_model};

/// Clients of each protocol.
const CLIENTS: u8 = 8;

/// Replaces the server so often while clients ask without a pause, and has the model loaded again, with other files, after each
/// time. No request may fail.
async fn replaced_under_load(times: u32, arguments: &[&str]) {
    let repository = repository();
    let explicit = ["--model-control-mode", "explicit", "--load-model", "byte"];
    let server = up(&repository, &[&explicit, arguments].concat()).await;
    let clients = Clients::start(server.address("http").await, server.address("grpc").await, CLIENTS);
    let goes_on = async || {
        let before = clients.answered();
        let answers = async || (clients.answered() > before + 48).then_some(());
        server.wait("answers", answers).await;
    };
    for time in 0..times {
        let before = behind(&server).await;
        let signal = if time.is_multiple_of(2) {
            ProcessSignal::HangUp
        } else {
            ProcessSignal::User2
        };
        send_signal(server.pid(), signal).unwrap();
        server.wait("the old server's end", async || (!is_alive(before)).then_some(())).await;
        assert_ne!(behind(&server).await, before);
        goes_on().await;
        write_model(&repository, 501 + time);
        let loaded = server.post("/v2/repository/models/byte/load", "{}").await.unwrap();
        assert_eq!(loaded.status, 200, "{}", loaded.text());
        goes_on().await;
        let loads = server.metric("adulis_model_loads_total", &["outcome=\"ok\""]).await.unwrap();
        assert_eq!(loads, 2.0, "the server behind has loaded it at its start and once more");
    }
    let seen = clients.stop().await;
    // For whoever runs the long form.
    let _ = writeln!(std::io::stderr(), "{times} replacements and as many loads: {seen:?}");
    assert!(seen.failed.is_empty(), "{seen:?}; the log is:\n{}", server.log());
    assert!(seen.answered > 100, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacements_under_load_cost_no_request() {
    replaced_under_load(3, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacements_with_worker_processes_cost_no_request() {
    replaced_under_load(2, &["--workers", "1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long form, by hand: cargo nextest run --workspace --run-ignored only --no-capture fifty_replacements"]
async fn fifty_replacements_under_load_cost_no_request() {
    replaced_under_load(50, &[]).await;
}

/// The model of a repository that has a configuration file in it, behind `adulis up`.
async fn up_with(repository: &TestRepository, config: &Path, start_timeout: &str) -> TestServer {
    let start_timeout = format!("supervisor.start_timeout={start_timeout}");
    let arguments = ["--config", config.to_str().unwrap(), "--set", &start_timeout];
    up_at(&repository.path().join("byte"), &arguments).await
}

/// The new one has the new configuration; one that is at fault, or never gets ready, takes nobody's place.
#[tokio::test]
async fn a_configuration_at_fault_leaves_the_server_as_it_is() {
    let repository = repository();
    let file = repository.path().join("adulis.toml");
    std::fs::write(&file, "[server]\nname = \"first\"\n").unwrap();
    let server = up_with(&repository, &file, "2s").await;
    let first = behind(&server).await;
    let name = async || server.get("/v2").await.unwrap().text();

    std::fs::write(&file, "[server]\nnam = \"second\"\n").unwrap();
    send_signal(server.pid(), ProcessSignal::HangUp).unwrap();
    server.logged(&["the configuration is at fault", "server.nam"]).await;
    assert!(name().await.contains("first"));

    // A model that cannot be loaded: the new server is never ready.
    std::fs::write(&file, "[server]\nname = \"third\"\n").unwrap();
    let config = repository.path().join("byte/config.pbtxt");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, "backend: \"none such\"").unwrap();
    send_signal(server.pid(), ProcessSignal::User2).unwrap();
    // Until it is gone no other one is started.
    server.logged(&["ended before it was ready"]).await;
    assert_eq!(behind(&server).await, first);
    assert!(name().await.contains("first"));

    std::fs::write(&config, good).unwrap();
    send_signal(server.pid(), ProcessSignal::User2).unwrap();
    server.wait("the new name", async || name().await.contains("third").then_some(())).await;
    server.wait("the old server's end", async || (!is_alive(first)).then_some(())).await;
}

/// Addresses change, and back again after a server that never got ready, and from one use to another.
#[tokio::test]
async fn addresses_change_and_change_back() {
    let repository = repository();
    let file = repository.path().join("adulis.toml");
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (first, second) = (free(), free());
    let ports = |sagemaker: u16, vertex_ai: Option<u16>| {
        let section = |name: &str, port: u16| format!("[{name}]\nenabled = true\nport = {port}\n");
        let vertex_ai = vertex_ai.map(|port| section("vertex_ai", port)).unwrap_or_default();
        std::fs::write(&file, section("sagemaker", sagemaker) + &vertex_ai).unwrap();
    };
    let answers = async |line: &str, port: u16| {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let answer = RawConnection::open(address).await.unwrap().request(line, &[], b"").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    ports(first, None);
    let server = up_with(&repository, &file, "5s").await;
    let replaced = async || {
        let before = behind(&server).await;
        send_signal(server.pid(), ProcessSignal::HangUp).unwrap();
        server.wait("the old server's end", async || (!is_alive(before)).then_some(())).await;
    };
    answers("GET /ping", first).await;

    let config = repository.path().join("byte/config.pbtxt");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, "backend: \"none such\"").unwrap();
    ports(second, None);
    send_signal(server.pid(), ProcessSignal::HangUp).unwrap();
    server.logged(&["ended before it was ready"]).await;
    answers("GET /ping", first).await;
    // Nobody waits there for a server that never comes.
    let refused =
        async || RawConnection::open((Ipv4Addr::LOCALHOST, second).into()).await.is_err().then_some(());
    server.wait("a closed socket", refused).await;

    std::fs::write(&config, good).unwrap();
    ports(first, None);
    replaced().await;
    answers("GET /ping", first).await;

    ports(second, Some(first));
    replaced().await;
    answers("GET /ping", second).await;
    answers("GET /health", first).await;
}

/// A server that is to take over is asked nothing before it is ready; when the one before it is gone, it answers, ready or not.
#[tokio::test]
async fn a_server_that_is_alone_answers_that_it_is_not_ready() {
    let repository = repository();
    let server = up(&repository, &[]).await;
    let first = behind(&server).await;
    let config = repository.path().join("byte/config.pbtxt");
    std::fs::write(&config, "backend: \"none such\"").unwrap();
    send_signal(server.pid(), ProcessSignal::HangUp).unwrap();
    server.logged(&["not ready: see the models that failed"]).await;
    for _ in 0..20 {
        let answer = server.get("/v2/health/ready").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    send_signal(first, ProcessSignal::Kill).unwrap();
    server.logged(&["the server ended by itself", "replaced_by"]).await;
    let answer = server.get("/v2/health/live").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = server.get("/v2/health/ready").await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_ne!(behind(&server).await, first);
}

/// A server that is killed is started again, and who connects meanwhile waits and is answered.
#[tokio::test]
async fn a_server_that_is_killed_is_started_again() {
    let repository = repository();
    let server = up(&repository, &[]).await;
    for _ in 0..3 {
        let before = behind(&server).await;
        send_signal(before, ProcessSignal::Kill).unwrap();
        server.wait("its end", async || (!is_alive(before)).then_some(())).await;
        // Nobody accepts at this moment. The answer may be that the server is loading: it is one.
        let answer = server.get("/v2/health/live").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        server.ready().await;
        assert_ne!(behind(&server).await, before);
    }
    assert!(server.log().contains("ended by signal 9"), "{}", server.log());
}
