//! Bad parameters of requests and outputs, in every form that can carry them.

use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::grpc::model_infer_request::InferRequestedOutputTensor;
use adulis_protocol::grpc::{InferParameter, ModelInferRequest};
use prost::Message;
use serde_json::{Map, Value, json};
use tonic::Code;

use crate::models;
use crate::send::{good, told};
use crate::support::grpc;

/// Parameters of the request, and of its output; what the message contains.
type Row = (Value, Value, Says);
type Says = &'static [&'static str];

fn rows() -> Vec<Row> {
    let request = |parameters: Value, says: Says| (parameters, json!({}), says);
    let output = |parameters: Value, says: Says| (json!({}), parameters, says);
    let many: Map<String, Value> = (0..65).map(|index| (format!("p{index}"), json!(1))).collect();
    vec![
        request(json!({"timeout": "soon"}), &["'timeout'", "'soon'"]),
        request(json!({"timeout": -1}), &["'timeout'", "-1"]),
        request(json!({"timeout": 0.5}), &["'timeout'", "0.5"]),
        request(json!({"timeout": true}), &["'timeout'", "true"]),
        request(json!({"timeout": [1]}), &["'timeout'"]),
        request(json!({"priority": "high"}), &["'priority'", "'high'"]),
        request(json!({"priority": -1}), &["'priority'", "-1"]),
        request(json!({"binary_data_output": 7}), &["'binary_data_output'", "7"]),
        request(json!({"binary_data_output": "yes"}), &["'binary_data_output'", "'yes'"]),
        request(json!({"non_finite": "nan"}), &["'non_finite'", "'nan'", "'literal'"]),
        request(json!({"non_finite": 7}), &["'non_finite'", "7"]),
        request(json!({"sequence_id": -1}), &["'sequence_id'", "-1"]),
        request(json!({"sequence_id": 1.5}), &["'sequence_id'", "1.5"]),
        request(json!({"sequence_id": "x".repeat(129)}), &["'sequence_id'", "128 bytes"]),
        request(json!({"sequence_end": 1}), &["'sequence_end'", "1"]),
        request(json!({"sequence_id": 1, "sequence_start": "yes"}), &["'sequence_start'", "'yes'"]),
        request(json!({"triton_speed": 1}), &["triton_speed"]),
        request(json!({"triton_enable_empty_final_response": 1}), &["triton_enable_empty_final_response"]),
        request(json!({"x": null}), &["'x'"]),
        request(json!({"x": {"y": 1}}), &["'x'"]),
        request(Value::Object(many), &["parameters", "64"]),
        output(json!({"binary_data": "yes"}), &["'binary_data'", "'yes'"]),
        output(json!({"classification": -1}), &["'classification'", "-1"]),
        output(json!({"classification": 0.5}), &["'classification'", "0.5"]),
        output(json!({"classification": "many"}), &["'classification'", "'many'"]),
        output(json!({"classification": true}), &["'classification'", "true"]),
        output(json!({"shared_memory_region": "r"}), &["'OUTPUT0'", "shared_memory_byte_size"]),
    ]
}

/// The parameters as a message has them; `None` where it cannot.
fn message_of(parameters: &Value) -> Option<Vec<(String, InferParameter)>> {
    let choice = |value: &Value| {
        Some(match value {
            Value::Bool(value) => ParameterChoice::BoolParam(*value),
            Value::String(text) => ParameterChoice::StringParam(text.clone()),
            Value::Number(number) => match number.as_i64() {
                Some(value) => ParameterChoice::Int64Param(value),
                None => ParameterChoice::DoubleParam(number.as_f64()?),
            },
            _ => return None,
        })
    };
    let list = parameters.as_object()?.iter();
    list.map(|(name, value)| Some((name.clone(), InferParameter { parameter_choice: Some(choice(value)?) })))
        .collect()
}

#[tokio::test]
async fn in_every_form() {
    let (server, _repository) = models().await;
    let mut client = grpc(&server).await;
    let mut wrong = Vec::new();
    let mut complain = |form: &str, row: &Row, fine: bool, told: &str| {
        let unsaid: Vec<_> = [&["'pair'"][..], row.2]
            .concat()
            .into_iter()
            .filter(|text| !told.contains(text))
            .collect();
        if !fine || !unsaid.is_empty() {
            wrong.push(format!("{} {} as {form}: without {unsaid:?}: {told}", row.0, row.1));
        }
    };
    for row in rows() {
        let body = json!({
            "inputs": [], "parameters": row.0, "outputs": [{"name": "OUTPUT0", "parameters": row.1}],
        });
        let answer = server.infer("pair", &[], &body.to_string()).await.unwrap();
        complain("JSON", &row, answer.status == 400, &told(answer.status, &answer.body));
        if let (Some(parameters), Some(output)) = (message_of(&row.0), message_of(&row.1)) {
            let output = InferRequestedOutputTensor {
                name: "OUTPUT0".to_owned(),
                parameters: output.into_iter().collect(),
            };
            let message = ModelInferRequest {
                model_name: "pair".to_owned(),
                parameters: parameters.into_iter().collect(),
                outputs: vec![output],
                ..ModelInferRequest::default()
            };
            let status = client.model_infer(message.clone()).await.unwrap_err();
            complain("gRPC", &row, status.code() == Code::InvalidArgument, status.message());
            let headers = ["content-type: application/x-protobuf"];
            let mut connection = server.connect().await.unwrap();
            let line = "POST /v2/models/pair/infer";
            let answer = connection.request(line, &headers, &message.encode_to_vec()).await.unwrap();
            complain("protobuf", &row, answer.status == 400, &told(answer.status, &answer.body));
        }
        good(&server, &mut client).await;
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
