//! A case in each of its forms.

use adulis_protocol::flatbuffers;
use adulis_protocol::grpc::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use adulis_protocol::grpc::{ModelInferRequest, ModelStreamInferResponse};
use adulis_tensor::{Shape, Tensor};
use adulis_testing::TestServer;
use adulis_types::{InferRequest, InputTensor, ModelRef, RequestedOutput};
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::Client;
use crate::{Case, Input};

/// What one form of a case was told.
pub(crate) struct Answer {
    form: &'static str,
    /// Whether the status is the case's, or its twin.
    as_expected: bool,
    told: String,
}

impl Answer {
    /// What is wrong with the answer.
    pub(crate) fn complaint(&self, case: &Case) -> Option<String> {
        let unsaid: Vec<&String> = case.says.iter().filter(|text| !self.told.contains(*text)).collect();
        let fine = self.as_expected && unsaid.is_empty();
        (!fine).then(|| {
            let Self { form, told, .. } = self;
            format!("{} as {form}: expected {} with {unsaid:?}, was told: {told}", case.name, case.status)
        })
    }
}

/// The gRPC code that belongs to a status.
pub(crate) fn twin(status: u16) -> Code {
    match status {
        400 => Code::InvalidArgument,
        404 => Code::NotFound,
        413 => Code::ResourceExhausted,
        501 => Code::Unimplemented,
        other => panic!("a bad request is not answered with {other}"),
    }
}

/// Sends the case as JSON and as binary tensors, as far as it has these forms.
pub(crate) async fn over_rest(server: &TestServer, case: &Case) -> Vec<Answer> {
    let mut answers = Vec::new();
    if case.inputs.iter().all(|input| input.json.is_some()) {
        answers.push(rest(server, case, "JSON", None).await);
    }
    let raw: Option<Vec<&[u8]>> = case.inputs.iter().map(|input| input.raw.as_deref()).collect();
    if let Some(raw) = raw.filter(|raw| !raw.is_empty()) {
        answers.push(rest(server, case, "binary", Some(raw.concat())).await);
    }
    answers
}

async fn rest(server: &TestServer, case: &Case, form: &'static str, binary: Option<Vec<u8>>) -> Answer {
    let json = document(case, binary.is_some());
    let length = format!("inference-header-content-length: {}", json.len());
    let headers: &[&str] = if binary.is_some() { &[&length] } else { &[] };
    let body = [json.into_bytes(), binary.unwrap_or_default()].concat();
    let answer = server.connect().await.unwrap().request(&line(case), headers, &body).await.unwrap();
    Answer {
        form,
        as_expected: answer.status == case.status,
        told: told(answer.status, &answer.body),
    }
}

fn line(case: &Case) -> String {
    let version = match case.version {
        "" => String::new(),
        version => format!("/versions/{version}"),
    };
    format!("POST /v2/models/{}{version}/infer", case.model)
}

/// The message of a refusal, which is all that its body holds.
pub(crate) fn told(status: u16, body: &[u8]) -> String {
    let message = serde_json::from_slice::<Value>(body).ok().and_then(|body| {
        let fields = body.as_object().filter(|fields| fields.len() == 1)?;
        Some(fields.get("error")?.as_str()?.to_owned())
    });
    let other = || format!("no JSON error: {}", String::from_utf8_lossy(body));
    format!("{status} {}", message.unwrap_or_else(other))
}

/// Written by hand, since data need not be JSON.
pub(crate) fn document(case: &Case, binary: bool) -> String {
    let input = |input: &Input| {
        let Input { name, datatype, shape, json, raw } = input;
        let data = if binary {
            let size = raw.as_ref().map_or(0, Vec::len);
            format!(r#""parameters":{{"binary_data_size":{size}}}"#)
        } else {
            format!(r#""data":{}"#, json.as_deref().unwrap_or("[]"))
        };
        format!(r#"{{"name":"{name}","datatype":"{datatype}","shape":{shape:?},{data}}}"#)
    };
    let inputs: Vec<String> = case.inputs.iter().map(input).collect();
    let outputs: Vec<Value> = case.outputs.iter().map(|name| json!({ "name": name })).collect();
    format!(r#"{{"inputs":[{}],"outputs":{}}}"#, inputs.join(","), Value::from(outputs))
}

/// Sends the case as a unary call and on a stream, if its inputs are bytes.
pub(crate) async fn over_grpc(client: &mut Client, case: &Case) -> Vec<Answer> {
    let Some(message) = message(case) else {
        return Vec::new();
    };
    let status = client.model_infer(message.clone()).await.err();
    let code = status.as_ref().map(tonic::Status::code);
    let told = format!("{code:?} {}", status.as_ref().map_or("", |status| status.message()));
    let unary = Answer { form: "gRPC", as_expected: code == Some(twin(case.status)), told };

    let stream = client.model_stream_infer(tokio_stream::once(message)).await.unwrap();
    let stream = stream.into_inner().message().await;
    let ModelStreamInferResponse { error_message, infer_response } = stream.unwrap().unwrap();
    let outputs = infer_response.map_or(0, |response| response.outputs.len());
    let refused = !error_message.is_empty() && outputs == 0;
    vec![
        unary,
        Answer { form: "gRPC stream", as_expected: refused, told: error_message },
    ]
}

pub(crate) fn message(case: &Case) -> Option<ModelInferRequest> {
    let raw: Option<Vec<Vec<u8>>> = case.inputs.iter().map(|input| input.raw.clone()).collect();
    let input = |input: &Input| InferInputTensor {
        name: input.name.to_owned(),
        datatype: input.datatype.to_owned(),
        shape: input.shape.clone(),
        ..InferInputTensor::default()
    };
    let output = |name: &&str| InferRequestedOutputTensor { name: (*name).to_owned(), ..Default::default() };
    Some(ModelInferRequest {
        model_name: case.model.to_owned(),
        model_version: case.version.to_owned(),
        inputs: case.inputs.iter().map(input).collect(),
        outputs: case.outputs.iter().map(output).collect(),
        raw_input_contents: raw?.into_iter().map(Into::into).collect(),
        ..ModelInferRequest::default()
    })
}

/// Sends the case as bodies of plain HTTP that are not JSON: as Protocol Buffers, if its inputs are bytes, and as FlatBuffers,
/// if its tensors are none the worse for being in memory.
pub(crate) async fn over_http(server: &TestServer, case: &Case) -> Vec<Answer> {
    let mut bodies = Vec::new();
    // The path names model and version.
    if let Some(message) = message(&Case { model: "", version: "", ..case.clone() }) {
        bodies.push(("protobuf", "application/x-protobuf", message.encode_to_vec()));
    }
    if let Some(request) = native(&Case { model: "", ..case.clone() }) {
        let body = flatbuffers::encode_request(&request).unwrap().concat();
        bodies.push(("FlatBuffers", "application/x-flatbuffers", body));
    }
    let mut answers = Vec::new();
    for (form, content_type, body) in bodies {
        let content_type = format!("content-type: {content_type}");
        let mut connection = server.connect().await.unwrap();
        let answer = connection.request(&line(case), &[&content_type], &body).await.unwrap();
        let as_expected = answer.status == case.status;
        answers.push(Answer { form, as_expected, told: told(answer.status, &answer.body) });
    }
    answers
}

/// The case as a decoded request; `None` where a tensor would not be valid in itself.
pub(crate) fn native(case: &Case) -> Option<InferRequest> {
    let tensor = |input: &Input| {
        let shape = input.shape.iter().map(|&extent| usize::try_from(extent).ok());
        let shape: Shape = shape.collect::<Option<Vec<usize>>>()?.into_iter().collect();
        let datatype = input.datatype.parse().ok()?;
        let tensor = Tensor::new(datatype, shape, input.raw.clone()?.into()).ok()?;
        Some(InputTensor { name: input.name.into(), tensor })
    };
    let mut request = InferRequest::new(ModelRef::latest(case.model));
    request.inputs = case.inputs.iter().map(tensor).collect::<Option<_>>()?;
    request.outputs = case.outputs.iter().map(|name| RequestedOutput::new(*name)).collect();
    Some(request)
}

/// A good request over both protocols: the server goes on.
pub(crate) async fn good(server: &TestServer, client: &mut Client) {
    let case = crate::cases::good();
    let answer = server.infer(case.model, &[], &document(&case, false)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["outputs"][0]["data"], json!([1.0, 2.0, 3.0, 4.0]), "{answer}");
    let answer = client.model_infer(message(&case).unwrap()).await.unwrap().into_inner();
    assert_eq!(answer.raw_output_contents[1], vec![1, 2]);
}
