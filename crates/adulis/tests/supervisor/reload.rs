//! SIGHUP to a server by itself.

use adulis_testing::{ProcessSignal, TestServer, send_signal};

use crate::repository;
use crate::support::{BINARY, byte_json};

#[tokio::test]
async fn what_can_change_does_and_the_rest_is_named() {
    let repository = repository();
    let file = repository.path().join("adulis.toml");
    std::fs::write(&file, "").unwrap();
    let model = repository.path().join("byte");
    let arguments = [model.to_str().unwrap(), "--config", file.to_str().unwrap()];
    let server = TestServer::start(BINARY, &arguments).unwrap();
    server.ready().await;
    let ask = async || {
        let answer = server.infer("byte", &[], &byte_json(3)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    ask().await;
    assert!(!server.log().contains("adulis::access"), "{}", server.log());

    let text =
        "[log]\naccess = true\n[server]\nlame_duck = \"1s\"\nmax_connections = 7\n[workers]\ncount = 3\n";
    std::fs::write(&file, text).unwrap();
    send_signal(server.pid(), ProcessSignal::HangUp).unwrap();
    server.logged(&["WARN", "needs a restart", "server.max_connections, workers.count"]).await;
    server.logged(&["configuration read again", "server.lame_duck, log.access"]).await;
    ask().await;
    server.logged(&["adulis::access", "/v2/models/byte/infer"]).await;

    std::fs::write(&file, "[log]\nacces = true\n").unwrap();
    send_signal(server.pid(), ProcessSignal::HangUp).unwrap();
    server.logged(&["ERROR", "stays as it was", "log.acces"]).await;
    ask().await;
}
