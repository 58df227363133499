//! Bad requests of the V1 protocol.

use crate::models;
use crate::rows::{Row, all_refused};
use crate::support::grpc;

const PAIR: &str = "POST /v1/models/pair:predict";
const FP32: &str = "POST /v1/models/fp32:predict";
const INT8: &str = "POST /v1/models/int8:predict";
const TEXT: &str = "POST /v1/models/text:predict";

fn pair<'a>(body: &str, says: &'a [&'a str]) -> Row<'a> {
    Row::new(PAIR, body, says)
}

#[tokio::test]
async fn over_v1() {
    let (server, _repository) = models().await;
    let mut client = grpc(&server).await;
    let deep = format!(r#"{{"inputs":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    let deeper = format!(r#"{{"x":{}}}"#, "[".repeat(1000));
    let row = r#"{"INPUT0":[1,2,3,4],"INPUT1":[1,2]}"#;
    let five = format!(r#"{{"instances":[{row},{row},{row},{row},{row}]}}"#);
    let uneven = format!(r#"{{"instances":[{row},{{"INPUT0":[1,2,3],"INPUT1":[1,2]}}]}}"#);
    let both = format!(r#"{{"instances":[{row}],"inputs":{{}}}}"#);
    let unknown = r#"{"instances":[{"INPUT0":[1,2,3,4],"INPUT1":[1,2],"X":1}]}"#;
    let long = vec![b' '; crate::BODY_LIMIT + 1];
    let rows = [
        pair("", &["'pair'", "empty"]),
        pair("[]", &["'pair'", "'['"]),
        pair("{}", &["'pair'", "missing 'instances' or 'inputs'"]),
        pair(r#"{"instances":[]}"#, &["'pair'", "'instances' is empty"]),
        pair(r#"{"instances":{}}"#, &["'pair'", "'['"]),
        pair(&both, &["'pair'", "got both"]),
        pair(r#"{"instances":[1]}"#, &["'pair'", "'INPUT0'", "'INPUT1'"]),
        pair(r#"{"instances":[{"INPUT0":[1,2,3,4]}]}"#, &["'pair'", "instance 0", "'INPUT1'"]),
        pair(unknown, &["'pair'", "unknown input 'X'"]),
        pair(&uneven, &["'pair'", "'INPUT0'", "one length", "4 and 3"]),
        pair(&five, &["'pair'", "5 rows", "at most 4"]),
        pair(&deeper, &["'pair'", "at most"]),
        Row::new(PAIR, long, &["8192"]).gets(413),
        Row::new(PAIR, &b"{\"inputs\":\"\xff\"}"[..], &["'pair'"]),
        Row::new(FP32, deep.as_str(), &["'fp32'", "'INPUT0'", "at most 32 dimensions"]),
        Row::new(FP32, r#"{"instances":["a"]}"#, &["'fp32'", "'INPUT0'", "FP32", "\"a\""]),
        Row::new(FP32, r#"{"inputs":[1e39]}"#, &["'fp32'", "'INPUT0'", "1e39"]),
        Row::new(FP32, r#"{"inputs":[null]}"#, &["'fp32'", "'INPUT0'", "null"]),
        Row::new(FP32, r#"{"inputs":[1,2]}"#, &["'fp32'", "'INPUT0'", "shape [2]", "expected [1]"]),
        Row::new(FP32, r#"{"inputs":[1],"inputs":[1]}"#, &["'fp32'", "duplicate key 'inputs'"]),
        Row::new(FP32, r#"{"inputs":[1]} x"#, &["'fp32'", "expected the end"]),
        Row::new(FP32, r#"{"inputs":[1"#, &["'fp32'", "the end"]),
        Row::new(FP32, r#"{"inputs":[1],"parameters":{"timeout":"soon"}}"#, &["'timeout'", "'soon'"]),
        Row::new(FP32, r#"{"inputs":[1],"parameters":7}"#, &["'fp32'", "'{'"]),
        Row::new(FP32, r#"{"inputs":[1],"signature_name":7}"#, &["'fp32'", "a string"]),
        Row::new(INT8, r#"{"inputs":[128]}"#, &["'int8'", "'INPUT0'", "-128 to 127", "128"]),
        Row::new(INT8, r#"{"inputs":[1.5]}"#, &["'int8'", "'INPUT0'", "1.5"]),
        Row::new(TEXT, r#"{"inputs":[{"b64":"*"},"a"]}"#, &["'text'", "'INPUT0'", "b64"]),
        Row::new(TEXT, r#"{"inputs":[{"hex":"00"},"a"]}"#, &["'text'", "'INPUT0'", "b64"]),
        Row::new(TEXT, r#"{"inputs":[7,"a"]}"#, &["'text'", "'INPUT0'", "BYTES", "7"]),
        Row::new("POST /v1/models/fp16:predict", r#"{"inputs":[1]}"#, &["'fp16'", "'INPUT0'", "FP16"]),
        Row::new("POST /v1/models/nobody:predict", r#"{"inputs":[1]}"#, &["'nobody'"]).gets(404),
        Row::new("POST /v1/models/fp32/versions/x:predict", r#"{"inputs":[1]}"#, &["'fp32'", "'x'"]),
        Row::new("POST /v1/models/fp32/versions/9:predict", r#"{"inputs":[1]}"#, &["'fp32'", "9"]).gets(404),
        Row::new("GET /v1/models/nobody", "", &["'nobody'"]).gets(404),
        Row::new(FP32, "{}", &["application/x-protobuf"])
            .with(&["content-type: application/x-protobuf"])
            .gets(415),
    ];
    all_refused(&server, &mut client, &rows).await;
}
