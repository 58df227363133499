//! Requests that are wrong before they are requests: paths, methods, headers, bodies, frames.

use adulis_protocol::grpc::model_infer_request::InferInputTensor;
use adulis_protocol::grpc::{InferTensorContents, ModelInferRequest};
use prost::Message;
use tonic::Code;

use crate::rows::{Row, all_refused};
use crate::send::good;
use crate::support::{INFER, byte_message, call_raw, frame, grpc, infer_raw, status_of};
use crate::{BODY_LIMIT, models};

const POST: &str = "POST /v2/models/pair/infer";
const LENGTH: &str = "inference-header-content-length: ";

const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

fn post<'a>(body: &[u8], says: &'a [&'a str]) -> Row<'a> {
    Row::new(POST, body, says)
}

#[tokio::test]
async fn over_rest() {
    let (server, _repository) = models().await;
    let mut client = grpc(&server).await;
    let long = vec![b' '; BODY_LIMIT + 1];
    let deep = format!(r#"{{"x":{}}}"#, "[".repeat(1000));
    let sized = |size: usize| {
        let inputs = format!(
            r#"{{"name":"INPUT0","datatype":"FP32","shape":[1,4],"parameters":{{"binary_data_size":{size}}}}}"#
        );
        format!(r#"{{"inputs":[{inputs}]}}"#)
    };
    let (short, over) = (sized(8), sized(100));
    let at = |json: &str| format!("{LENGTH}{}", json.len());
    let (short_at, over_at) = (at(&short), at(&over));
    let (short, over) = ([short.as_bytes(), &[0; 16]].concat(), [over.as_bytes(), &[0; 16]].concat());
    let (over_at, short_at) = ([over_at.as_str()], [short_at.as_str()]);
    let rows = [
        post(b"", &["'pair'", "empty"]),
        post(b"[]", &["'pair'", "'['"]),
        post(b"{}", &["'pair'", "'inputs'"]),
        post(b"{\"inputs\":[", &["'pair'", "the end"]),
        post(b"{\"inputs\":[],\"inputs\":[]}", &["'pair'", "duplicate key 'inputs'"]),
        post(b"{\"inputs\":[]}{}", &["'pair'", "expected the end"]),
        post(b"{\"inputs\":[{\"name\":\"\xff\"}]}", &["'pair'", "UTF-8", "0xff"]),
        post(deep.as_bytes(), &["'pair'", "at most"]),
        post(&long, &["8192"]).gets(413),
        post(&over, &["'pair'", "'INPUT0'", "100 bytes", "got 16"]).with(&over_at),
        post(&short, &["'pair'", "'INPUT0'", "16 bytes", "got 8"]).with(&short_at),
        post(b"{}", &["'pair'", "99", "2"]).with(&["inference-header-content-length: 99"]),
        post(b"{}", &["inference-header-content-length", "'-1'"])
            .with(&["inference-header-content-length: -1"]),
        post(b"{}", &["'text/html'", "application/json"])
            .with(&["content-type: text/html"])
            .gets(415),
        post(b"{}", &["'br'", "gzip"]).with(&["content-encoding: br"]).gets(415),
        post(b"{}", &["gzip"]).with(&["content-encoding: gzip"]),
        post(b"{}", &["x-request-timeout-ms", "'soon'"]).with(&["x-request-timeout-ms: soon"]),
        Row::new("GET /v2/models/pair/infer", "", &["GET"]).gets(405),
        Row::new("DELETE /v2/models/pair", "", &["DELETE"]).gets(405),
        Row::new("POST /v2/health/live", "", &["POST"]).gets(405),
        Row::new("POST /v2/models/pair/versions/x/infer", "{}", &["'pair'", "'x'"]),
        Row::new("POST /v2/models/%ff/infer", "{}", &["UTF-8"]),
        Row::new("GET /v2/models/nobody", "", &["'nobody'"]).gets(404),
        Row::new("GET /v2/models/pair/versions/7/ready", "", &["'pair'", "7"]).gets(404),
        Row::new("GET /v2/nothing", "", &["/v2/nothing"]).gets(404),
        Row::new("GET /nowhere", "", &["/nowhere"]).gets(404),
    ];
    all_refused(&server, &mut client, &rows).await;
}

#[tokio::test]
async fn a_body_of_unknown_length_is_bounded() {
    let (server, _repository) = models().await;
    let mut connection = server.connect().await.unwrap();
    let head = format!("{POST} HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.send(head.as_bytes()).await.unwrap();
    let chunk = [b"1000\r\n".as_slice(), &[b' '; 4096], b"\r\n"].concat();
    for _ in 0..3 {
        // The server may have answered and closed already.
        let _ = connection.send(&chunk).await;
    }
    let answer = connection.receive().await.unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    good(&server, &mut grpc(&server).await).await;
}

/// A request to `int8` with typed contents.
fn typed(contents: InferTensorContents) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "INPUT0".to_owned(),
        datatype: "INT8".to_owned(),
        shape: vec![1],
        contents: Some(contents),
        ..InferInputTensor::default()
    };
    ModelInferRequest { model_name: "int8".to_owned(), inputs: vec![input], ..Default::default() }
}

fn ints(values: &[i32]) -> ModelInferRequest {
    typed(InferTensorContents { int_contents: values.to_vec(), ..Default::default() })
}

#[tokio::test]
async fn over_grpc() {
    let (server, _repository) = models().await;
    let mut client = grpc(&server).await;
    let floats = typed(InferTensorContents { fp32_contents: vec![1.0], ..Default::default() });
    let extra = ModelInferRequest { raw_input_contents: vec![vec![1].into()], ..ints(&[1]) };
    let spare = ModelInferRequest { raw_input_contents: vec![vec![1].into(); 2], ..byte_message("uint8", 1) };
    let rows: [(ModelInferRequest, &[&str]); 6] = [
        (ints(&[128]), &["'int8'", "'INPUT0'", "INT8", "128"]),
        (ints(&[-129]), &["'int8'", "'INPUT0'", "INT8", "-129"]),
        (ints(&[1, 2]), &["'int8'", "'INPUT0'", "expected 1 elements", "got 2"]),
        (floats, &["'int8'", "'INPUT0'", "INT8", "int_contents", "fp32_contents"]),
        (extra, &["'int8'", "'INPUT0'"]),
        (spare, &["'uint8'", "expected 1 raw contents", "got 2"]),
    ];
    for (message, says) in rows {
        let status = client.model_infer(message).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        for text in says {
            assert!(status.message().contains(text), "{text:?} is not in: {}", status.message());
        }
        good(&server, &mut client).await;
    }
    let (code, message) = infer_raw(&server, &[("grpc-timeout", "soon")], &ints(&[1])).await;
    assert_eq!(code, Code::InvalidArgument as i32, "{message}");
    good(&server, &mut client).await;
}

#[tokio::test]
async fn frames_and_paths_of_grpc() {
    let (server, _repository) = models().await;
    let long = ModelInferRequest { id: "x".repeat(BODY_LIMIT), ..ints(&[1]) }.encode_to_vec();
    let good_frame = frame(&ints(&[1]).encode_to_vec());
    let path = "/inference.GRPCInferenceService/Nothing";
    let rows: [(&str, Vec<u8>, Code); 8] = [
        (path, good_frame.clone(), Code::Unimplemented),
        ("/nothing", good_frame.clone(), Code::Unimplemented),
        (INFER, frame(&long), Code::ResourceExhausted),
        // Field 1, two bytes that are no UTF-8.
        (INFER, frame(&[0x0a, 2, 0xff, 0xfe]), Code::InvalidArgument),
        (INFER, frame(&[0xff; 9]), Code::InvalidArgument),
        (INFER, frame(&[]), Code::NotFound),
        (STREAM, frame(&long), Code::ResourceExhausted),
        (STREAM, frame(&[0xff; 9]), Code::InvalidArgument),
    ];
    let mut wrong = Vec::new();
    for (path, body, expected) in rows {
        let begin = body[..body.len().min(12)].to_vec();
        let (status, headers) = call_raw(&server, path, &[("content-type", "application/grpc")], body).await;
        let (code, message) = status_of(&headers);
        if (status, code) != (200, expected as i32) {
            wrong.push(format!("{path} {begin:?}: expected {expected:?}, got {status} {code} {message}"));
        }
        good(&server, &mut grpc(&server).await).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
