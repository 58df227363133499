//! Writes those seeds that nobody can write by hand: `cargo run -p adulis-fuzzing --example seeds`, after a form has changed.
#![allow(clippy::unwrap_used, reason = "a tool of the tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use adulis_cache::Key;
use adulis_cache::value::{Answer, Packing, encode};
use adulis_protocol::grpc::{
    self, LogSettingsRequest, ModelRepositoryParameter, RepositoryModelLoadRequest,
    RepositoryModelUnloadRequest, TraceSettingRequest, log_settings_request, model_repository_parameter,
    trace_setting_request,
};
use adulis_protocol::{flatbuffers, rest};
use adulis_tensor::DataType;
use adulis_testing::TestAuthority;
use adulis_types::{InferRequest, InferResponse, ModelRef, OutputTensor, StageTimings};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use prost::Message;
use ring::signature::Ed25519KeyPair;

/// Requests, which are written in the other forms.
const REQUESTS: [(&str, &str); 2] = [
    (
        "numbers",
        r#"{"id":"7","parameters":{"priority":1,"timeout":5,"x":-1.5e3,"s":"t","b":true},"inputs":[{"name":"A","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[3e2,-4]]},{"name":"I","shape":[3],"datatype":"INT64","data":[-1,0,9223372036854775807]}],"outputs":[{"name":"O","parameters":{"binary_data":true,"classification":3}}]}"#,
    ),
    (
        "texts",
        r#"{"inputs":[{"name":"B","shape":[2],"datatype":"BYTES","data":["a\u00e9\n","b"]},{"name":"C","datatype":"BOOL","shape":[1],"data":[true]},{"name":"E","datatype":"UINT8","shape":[0,2],"data":[]}]}"#,
    ),
];

fn main() {
    for (name, json) in REQUESTS {
        let body = Bytes::from_static(json.as_bytes());
        let request = rest::decode_infer(ModelRef::latest("m"), body, None).unwrap().request;
        write("grpc_decode", name, &grpc::encode_request(&request).encode_to_vec());
        write("protobuf_body", name, &grpc::encode_request(&request).encode_to_vec());
        write("flatbuffers_decode", name, &flatbuffers::encode_request(&request).unwrap().concat());
        let name = &format!("answer_{name}");
        write("grpc_decode", name, &grpc::encode_infer(answer(&request)).encode_to_vec());
        write("flatbuffers_decode", name, &flatbuffers::encode_infer(answer(&request)).unwrap().concat());
        for (packing, compress_from_bytes) in [("plain", None), ("packed", Some(0))] {
            write(
                "cached_value",
                &format!("{packing}_{name}"),
                &cached(&request, Packing { compress_from_bytes }),
            );
        }
    }
    controls();
    certificates();
    token();
    workers();
}

/// What a server and a worker tell each other, behind the byte that chooses it.
fn workers() {
    worker("interrupt", 0, &[&numbers(&[4, 9, 3])]);
    worker("header", 1, &[&frame(3, 100, 7, 1000)]);
    worker("failed", 6, &[br#"{"Execution":{"reason":"it did not work"}}"#]);
    let signature = r#"{"inputs":[{"name":"A","datatype":"FP32","shape":[-1,3],"optional":false}],"outputs":[],"batching":true}"#;
    let options = r#"{"graph_optimization":2,"providers":[["cuda",{"device_id":"1"}]],"provider_fallback":true,"device_id":3,"intra_op_threads":4,"arena":false,"arena_limit_bytes":null,"optimized_cache":"/cache","parameters":{"k":"v"}}"#;
    let model =
        format!(r#"{{"name":"m","version":1,"path":"/m/1","declared":{signature},"options":{options}}}"#);
    let open = format!(r#"{{"backend":"tract","max_body_bytes":1024,"model":{model}}}"#);
    worker("open", 2, &[open.as_bytes()]);
    let rest = r#""placement":"CPU","keeps_state":false,"reads_requests":true,"is_decoupled":false,"prefers_fixed_batches":false"#;
    worker("opened", 3, &[format!(r#"{{"signature":{signature},{rest}}}"#).as_bytes()]);
    // One input; a request that begins the sequence 7, with one row.
    let request = [&text("id")[..], &parameters(), &[1 | 4], &numbers(&[7, 1])].concat();
    worker(
        "run",
        4,
        &[
            &numbers(&[1, 0]),
            &tensor(DataType::Fp32, 2, 8),
            &numbers(&[1]),
            &request,
        ],
    );
    answers();
}

/// What a worker gives: with the body in the frame, and in the file.
fn answers() {
    let ran = |fp32: (u64, u64), texts: (u64, u64)| {
        let outputs = [
            tensor(DataType::Fp32, fp32.0, fp32.1),
            tensor(DataType::Bytes, texts.0, texts.1),
        ]
        .concat();
        [
            &numbers(&[1, 2, 3, 2])[..],
            &outputs,
            &numbers(&[1]),
            &parameters(),
        ]
        .concat()
    };
    let short = ran((2, 8), (1, 6));
    worker("ran", 5, &[&short]);
    let body = [&[0; 8][..], &2_u32.to_le_bytes(), b"hi"].concat();
    let first = [&frame(4, short.len(), 1, body.len())[..], &short, &body].concat();
    let long = ran((9000, 36_000), (1000, 4000));
    worker("answers", 7, &[&first, &frame(4, long.len(), 2, 40_000), &long]);
    worker("answer_failed", 7, &[&first, &frame(5, 2, 2, 0), b"{}"]);
}

fn worker(name: &str, kind: u8, parts: &[&[u8]]) {
    write("worker_frames", name, &[&[kind], &parts.concat()[..]].concat());
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn text(text: &str) -> Vec<u8> {
    [&numbers(&[text.len() as u64])[..], text.as_bytes()].concat()
}

/// The header of a frame: kind, three zeros, bytes of the head, run, bytes of the body.
fn frame(kind: u8, head: usize, run: u64, body: usize) -> Vec<u8> {
    let head = u32::try_from(head).unwrap().to_le_bytes();
    [&[kind, 0, 0, 0], &head[..], &numbers(&[run, body as u64])].concat()
}

/// A tensor of one dimension, as it is announced.
fn tensor(datatype: DataType, extent: u64, bytes: u64) -> Vec<u8> {
    let index = DataType::ALL.iter().position(|other| *other == datatype).unwrap();
    [&[u8::try_from(index).unwrap(), 1], &numbers(&[extent, bytes])[..]].concat()
}

/// A flag, an integer and a text.
fn parameters() -> Vec<u8> {
    let flag = [&text("flag")[..], &[0, 1]].concat();
    let below = [&text("below")[..], &[1], &numbers(&[u64::MAX])].concat();
    [&numbers(&[3])[..], &flag, &below, &text("é"), &[4], &text("t")].concat()
}

/// Files of TLS, as PEM and as what that holds.
fn certificates() {
    let authority = TestAuthority::new();
    let (server, client) = (
        authority.server(&["Example.com", "*.example.com", "127.0.0.1"]),
        authority.client("spiffe://example/a"),
    );
    let list = authority.revoking(&[&client]);
    let seed = |name: &str, kind: u8, bytes: &[u8]| write("certificates", name, &[&[kind], bytes].concat());
    seed("certificate_pem", 0, server.pem().as_bytes());
    seed("authority_pem", 2, authority.pem().as_bytes());
    seed("revocation_list_pem", 3, list.as_bytes());
    seed("certificate", 4, &server.der());
    seed("key", 5, server.key_der().secret_der());
    seed("authority", 6, &inside(&authority.pem()));
    seed("revocation_list", 7, &inside(&list));
    seed("client", 8, &client.der());
    seed("client_of_hosts", 8, &server.der());
}

/// What is in PEM.
fn inside(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(lines).unwrap()
}

/// A token that the target's issuer has signed, good for this century.
fn token() {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
    let claims =
        r#"{"iss":"https://issuer.example","aud":"adulis","sub":"ann","exp":4102444800,"scope":"infer"}"#;
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    write("token", "signed", format!("\x01{message}.{signature}").as_bytes());
}

fn answer(request: &InferRequest) -> InferResponse {
    let outputs = request.inputs.iter();
    InferResponse {
        model_name: "m".into(),
        model_version: 1,
        id: request.id.clone(),
        parameters: request.parameters.clone(),
        outputs: outputs
            .map(|input| OutputTensor::new(input.name.as_str(), input.tensor.clone()))
            .collect(),
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    }
}

/// How it is packed, and what follows the checksum.
fn cached(request: &InferRequest, packing: Packing) -> Vec<u8> {
    let outputs = request.inputs.iter().map(|input| input.tensor.clone());
    // Large enough, and alike enough, to be packed.
    let outputs = (0..4).flat_map(|_| outputs.clone()).collect();
    let answer = Answer { outputs, parameters: request.parameters.clone() };
    let value = encode(&Key::from_bytes([7; 32]), &answer, Duration::from_secs(1_800_000_000), packing);
    [&value[4..5], &value[21..]].concat()
}

/// Messages of the control target, behind the byte that chooses them.
fn controls() {
    let one = |name: &str, choice| {
        BTreeMap::from([(name.to_owned(), ModelRepositoryParameter { parameter_choice: Some(choice) })])
    };
    use model_repository_parameter::ParameterChoice;
    let mut parameters = one("config", ParameterChoice::StringParam(r#"{"backend":"identity"}"#.to_owned()));
    parameters.extend(one("file:1/model.onnx", ParameterChoice::BytesParam(b"model".to_vec().into())));
    let load = RepositoryModelLoadRequest { model_name: "m".to_owned(), parameters, ..Default::default() };
    control("load_message", 5, &load);
    let parameters = one("unload_dependents", ParameterChoice::BoolParam(true));
    let unload =
        RepositoryModelUnloadRequest { model_name: "m".to_owned(), parameters, ..Default::default() };
    control("unload_message", 6, &unload);
    let value = |choice| log_settings_request::SettingValue { parameter_choice: Some(choice) };
    use log_settings_request::setting_value::ParameterChoice as Log;
    let settings = [
        ("log_info", value(Log::BoolParam(true))),
        ("log_verbose_level", value(Log::Uint32Param(2))),
        ("log_format", value(Log::StringParam("ISO8601".to_owned()))),
    ];
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    control("log_message", 7, &LogSettingsRequest { settings });
    let texts = |texts: &[&str]| trace_setting_request::SettingValue {
        value: texts.iter().map(|text| (*text).to_owned()).collect(),
    };
    let settings = [
        ("trace_level", texts(&["TIMESTAMPS", "TENSORS"])),
        ("trace_rate", texts(&["7"])),
        ("trace_count", texts(&[])),
    ];
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    control("trace_message", 8, &TraceSettingRequest { settings, model_name: "m".to_owned() });
}

fn control(name: &str, kind: u8, message: &impl Message) {
    write("control_decode", name, &[&[kind], &message.encode_to_vec()[..]].concat());
}

fn write(target: &str, name: &str, seed: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), seed).unwrap();
}
