//! Configuration, statistics and the model repository over a scripted service.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use adulis_protocol::grpc::model_repository_parameter::ParameterChoice;
use adulis_protocol::grpc::{
    ModelConfigRequest, ModelRepositoryParameter, ModelStatisticsRequest, RepositoryIndexRequest,
    RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
};
use bytes::Bytes;
use support::default_server;
use tonic::Code;

#[tokio::test]
async fn a_configuration_is_the_message_it_is() {
    let server = default_server();
    let mut client = server.client().await;
    let request =
        |name: &str, version: &str| ModelConfigRequest { name: name.into(), version: version.into() };
    let config = client.model_config(request("echo", "1")).await.unwrap().into_inner().config.unwrap();
    assert_eq!((config.name.as_str(), config.max_batch_size), ("echo", Some(8)));
    for (request, code) in [
        (request("nobody", ""), Code::NotFound),
        (request("echo", "7"), Code::NotFound),
        (request("echo", "one"), Code::InvalidArgument),
    ] {
        assert_eq!(client.model_config(request).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn statistics_of_one_model_and_of_all() {
    let server = default_server();
    let mut client = server.client().await;
    let request = |name: &str| ModelStatisticsRequest { name: name.into(), version: String::new() };
    let one = client.model_statistics(request("echo")).await.unwrap().into_inner().model_stats;
    assert_eq!(one.len(), 1);
    assert_eq!((one[0].name.as_str(), one[0].version.as_str()), ("echo", "1"));
    assert_eq!(one[0].last_inference, 1_700_000_000_123);
    let stages = one[0].inference_stats.unwrap();
    assert_eq!(stages.success.map(|success| (success.count, success.ns)), Some((3, 300)));
    assert_eq!(stages.cache_miss.map(|miss| miss.count), Some(0), "set, though it is zero");
    assert_eq!(one[0].batch_stats[0].compute_infer.map(|infer| infer.ns), Some(200));
    assert_eq!(one[0].response_stats["0"].success.map(|success| success.ns), Some(20));
    let all = client.model_statistics(request("")).await.unwrap().into_inner().model_stats;
    assert_eq!(all.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["echo", "held"]);
    assert_eq!(client.model_statistics(request("nobody")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn the_index_of_all_models_and_of_those_that_are_ready() {
    let server = default_server();
    let mut client = server.client().await;
    let all = client
        .repository_index(RepositoryIndexRequest::default())
        .await
        .unwrap()
        .into_inner()
        .models;
    let lines: Vec<_> = all
        .iter()
        .map(|model| format!("{} {} {} {}", model.name, model.version, model.state, model.reason))
        .collect();
    assert_eq!(
        lines,
        [
            "echo 1 READY ",
            "gone 1 UNAVAILABLE unloaded",
            "loading 1 LOADING ",
            "new   "
        ]
    );
    let ready = RepositoryIndexRequest { ready: true, ..RepositoryIndexRequest::default() };
    assert_eq!(client.repository_index(ready).await.unwrap().into_inner().models.len(), 1);
}

fn parameter(name: &str, choice: ParameterChoice) -> (String, ModelRepositoryParameter) {
    (name.to_owned(), ModelRepositoryParameter { parameter_choice: Some(choice) })
}

#[tokio::test]
async fn models_are_loaded_and_unloaded() {
    let server = default_server();
    let mut client = server.client().await;
    let load = |model: &str, parameters: Vec<_>| RepositoryModelLoadRequest {
        model_name: model.to_owned(),
        parameters: parameters.into_iter().collect(),
        ..RepositoryModelLoadRequest::default()
    };
    let parameters = vec![
        parameter("config", ParameterChoice::StringParam("{}".to_owned())),
        parameter("file:1/model.onnx", ParameterChoice::BytesParam(Bytes::from_static(b"model"))),
    ];
    client.repository_model_load(load("m", parameters)).await.unwrap();
    client.repository_model_load(load("m", vec![])).await.unwrap();
    {
        let loads = server.service.loads.lock();
        assert_eq!(loads[0].config.as_deref(), Some(&b"{}"[..]));
        assert_eq!(loads[0].files, [("1/model.onnx".into(), Bytes::from_static(b"model"))]);
        assert_eq!((loads[1].name.as_str(), &loads[1].config), ("m", &None));
    }
    let unload = RepositoryModelUnloadRequest {
        model_name: "m".to_owned(),
        parameters: [parameter("unload_dependents", ParameterChoice::BoolParam(true))].into(),
        ..RepositoryModelUnloadRequest::default()
    };
    client.repository_model_unload(unload).await.unwrap();
    assert!(server.service.unloads.lock()[0].unload_dependents);

    let status = client.repository_model_load(load("nobody", vec![])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("failed to load"), "{status}");
    let wrong = vec![parameter("config", ParameterChoice::BoolParam(true))];
    let status = client.repository_model_load(load("m", wrong)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("'config'"), "{status}");
    assert_eq!(server.service.loads.lock().len(), 2);
}
