//! Clients with keys of their own on one server: none reaches what is another's by loading models, or by a sequence's id.

use adulis_protocol::grpc::InferParameter;
use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use serde_json::{Value, json};

use crate::Guarded;

const LOAD: &str = "POST /v2/repository/models/team-a-x/load";

/// A request to load with a configuration.
fn with(config: &Value) -> String {
    json!({ "parameters": { "config": config.to_string() } }).to_string()
}

/// An ensemble of one model of a byte.
fn ensemble(step: &str) -> Value {
    json!({
        "platform": "ensemble", "max_batch_size": 1,
        "input": [{ "name": "INPUT0", "data_type": "TYPE_UINT8", "dims": [1] }],
        "output": [{ "name": "OUTPUT0", "data_type": "TYPE_UINT8", "dims": [1] }],
        "ensemble_scheduling": { "step": [{
            "model_name": step, "model_version": -1,
            "input_map": { "INPUT0": "INPUT0" }, "output_map": { "OUTPUT0": "OUTPUT0" }
        }] }
    })
}

#[tokio::test]
async fn who_loads_some_models_reaches_no_others_by_a_configuration() {
    let guarded = Guarded::start("", &["--set", "store.lookup=true"]).await;
    let (id, key) = guarded.key(&["--scope", "repository,infer", "--model", "team-a-*"]);
    let refused = guarded.ask(LOAD, &key, &with(&ensemble("digits"))).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(
        refused.text().contains(&format!("'{id}' may not use its step 'digits'")),
        "{}",
        refused.text()
    );
    let lookup = |table: &str| {
        let lookup = json!({ "key": "customer", "table": table, "inputs": { "INPUT0": "digest" } });
        json!({ "backend": "identity", "parameters": { "lookup": { "string_value": lookup.to_string() } } })
    };
    let planted = guarded.folder.path().join("planted");
    let options = json!({ "cache_dir": planted, "trt_engine_cache_path": planted, "device_type": "CPU" });
    let accelerator = json!([{ "name": "openvino", "parameters": options }]);
    for (config, says) in [
        (lookup("adulis_api_keys"), "parameters.lookup"),
        (lookup("customers"), "parameters.lookup"),
        (
            json!({ "optimization": { "execution_accelerators": { "cpu_execution_accelerator": accelerator } } }),
            "cache_dir",
        ),
        (
            json!({ "parameters": { "ep.context_file_path": { "string_value": planted } } }),
            "ep.context_file_path",
        ),
    ] {
        let answer = guarded.ask(LOAD, &key, &with(&config)).await;
        assert_eq!(answer.status, 400, "{config}: {}", answer.text());
        let told = answer.text();
        assert!(told.contains(says) && told.contains("not from a request"), "{config}: {told}");
        assert!(!told.contains("device_type"), "{told}");
    }
    assert!(!planted.exists());
    // What it has goes on, and what is its own is loaded.
    assert_eq!(guarded.infer("team-a-x", &[("x-api-key", &key)]).await, crate::OK);
    let own = json!({ "parameters": { "config": ensemble("team-a-x").to_string(), "file:1/note": "AAAA" } });
    let loaded = guarded.ask("POST /v2/repository/models/team-a-e/load", &key, &own.to_string()).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(guarded.infer("team-a-e", &[("x-api-key", &key)]).await, crate::OK);
}

/// A request of sequence 7, and what it is answered: the status, and the sum where there is one.
async fn add(guarded: &Guarded, key: &str, start: bool, number: i32) -> (u16, Option<i64>) {
    let body = json!({
        "parameters": { "sequence_id": 7, "sequence_start": start },
        "inputs": [{ "name": "INPUT", "datatype": "INT32", "shape": [1, 1], "data": [number] }]
    });
    let key = format!("x-api-key: {key}");
    let answer = guarded.server.infer("sum", &[&key], &body.to_string()).await.unwrap();
    let told: Value = serde_json::from_str(&answer.text()).unwrap();
    (answer.status, told["outputs"][0]["data"][0].as_i64())
}

#[tokio::test]
async fn nobody_gets_into_the_sequence_of_another_by_its_id() {
    let guarded = Guarded::start("", &[]).await;
    let (_, admin) = guarded.key(&["--scope", "admin"]);
    let ((_, one), (_, other)) = (guarded.key(&["--scope", "infer"]), guarded.key(&["--scope", "infer"]));
    let flag = |name: &str, kind: &str| {
        let control = json!([{ "kind": format!("CONTROL_SEQUENCE_{kind}"), "int32_false_true": [0, 1] }]);
        json!({ "name": name, "control": control })
    };
    let tensor = |name: &str| json!([{ "name": name, "data_type": "TYPE_INT32", "dims": [1] }]);
    let config = json!({
        "backend": "sequence", "max_batch_size": 4, "input": tensor("INPUT"), "output": tensor("OUTPUT"),
        "sequence_batching": { "control_input": [flag("START", "START"), flag("READY", "READY")] }
    });
    let load = json!({ "parameters": { "config": config.to_string(), "file:1/note": "AAAA" } });
    let loaded = guarded.ask("POST /v2/repository/models/sum/load", &admin, &load.to_string()).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());

    assert_eq!(add(&guarded, &one, true, 5).await, (200, Some(5)));
    assert_eq!(add(&guarded, &other, false, 1).await, (400, None));
    let mut message = crate::byte_message("sum", 0);
    message.inputs[0].name = "INPUT".to_owned();
    message.inputs[0].datatype = "INT32".to_owned();
    message.raw_input_contents = vec![vec![1, 0, 0, 0].into()];
    let id = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(7)) };
    message.parameters.insert("sequence_id".to_owned(), id);
    let asked = async |key: &str| crate::infer_raw(&guarded.server, &[("x-api-key", key)], &message).await.0;
    assert_eq!((asked(&other).await, asked(&one).await), (3, 0));
    assert_eq!(add(&guarded, &other, true, 100).await, (200, Some(100)));
    assert_eq!(add(&guarded, &one, false, 2).await, (200, Some(8)));
}
