//! Traces of the real server, in their file.

use std::time::Duration;

use adulis_testing::{StopSignal, TestRepository};
use serde_json::Value;

use crate::support::{byte_json, byte_message, byte_model, grpc, serve};

#[tokio::test]
async fn traces_of_both_protocols_are_in_the_file_when_the_server_has_stopped() {
    let repository = TestRepository::new().unwrap();
    // Longer than what is run on the spot: it goes through the queue.
    repository
        .identity("byte", &byte_model(&[("execute_delay_microseconds", "20000")]))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.json");
    let flag = format!("triton,file={}", file.to_str().unwrap());
    let settings = [
        "--trace-config",
        &flag,
        "--trace-config",
        "rate=1",
        "--trace-config",
        "level=TIMESTAMPS",
    ];
    let mut server = serve(&repository, &settings);
    server.ready().await;
    let answer = server.infer("byte", &[], &byte_json(7)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    grpc(&server).await.model_infer(byte_message("byte", 7)).await.unwrap();
    server.metric_reaches("adulis_traces_written_total", &[], 2.0).await;
    server.signal(StopSignal::Terminate).unwrap();
    assert!(server.exit(Duration::from_secs(20)).await.unwrap().success());

    let objects: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    for (id, first) in [(1, "HTTP_RECV_START"), (2, "GRPC_WAITREAD_START")] {
        let of = || objects.iter().filter(move |object| object["id"] == id);
        let moments: Vec<(&str, u64)> = of()
            .filter_map(|object| object.get("timestamps")?.get(0))
            .map(|moment| (moment["name"].as_str().unwrap(), moment["ns"].as_u64().unwrap()))
            .collect();
        assert_eq!(of().next().unwrap()["model_name"], "byte");
        assert_eq!(moments[0].0, first);
        let at = |name: &str| moments.iter().find(|(found, _)| *found == name).unwrap().1;
        let ran = at("COMPUTE_OUTPUT_START") - at("COMPUTE_INPUT_END");
        assert!(ran >= 20_000_000, "{ran} ns: {moments:?}");
        assert!(at("REQUEST_END") >= at("COMPUTE_END"), "{moments:?}");
    }
}
