//! Bad requests of the generate extension, for one answer and for events alike.

use crate::rows::{Row, all_refused};
use crate::support::grpc;
use crate::{BODY_LIMIT, models};

/// The lines of requests to some models, over one of the two routes.
struct Lines(Vec<(&'static str, String)>);

impl Lines {
    fn of(route: &str) -> Self {
        let models = [
            "pair",
            "text",
            "fp32",
            "int8",
            "bool",
            "fp16",
            "nobody",
            "pair/versions/x",
            "pair/versions/9",
        ];
        Self(models.map(|model| (model, format!("POST /v2/models/{model}/{route}"))).into())
    }

    fn to(&self, model: &str) -> &str {
        let line = self.0.iter().find(|(name, _)| *name == model);
        line.map(|(_, line)| line.as_str()).expect("a model of the table")
    }

    /// A bad request to `pair`.
    fn pair<'a>(&'a self, body: impl Into<Vec<u8>>, says: &'a [&'a str]) -> Row<'a> {
        Row::new(self.to("pair"), body, says)
    }

    /// A bad request to the model of one scalar, whose input is `data`.
    fn scalar<'a>(&'a self, model: &str, data: &str, says: &'a [&'a str]) -> Row<'a> {
        Row::new(self.to(model), format!(r#"{{"INPUT0":{data}}}"#), says)
    }
}

/// Requests whose bodies are no objects, or whose keys are wrong.
fn of_the_object(lines: &Lines) -> Vec<Row<'_>> {
    let many: Vec<String> = (0..65).map(|index| format!(r#""p{index}":1"#)).collect();
    let deep = format!(r#"{{"INPUT0":{}"#, "[".repeat(1000));
    let pair = |body: &str, says| lines.pair(body, says);
    vec![
        pair("", &["'pair'", "'INPUT0'", "missing", "FP32 [-1,4]"]),
        pair("[]", &["'pair'", "'{'"]),
        pair("7", &["'pair'", "'{'"]),
        pair("{", &["'pair'", "the end"]),
        pair("{} x", &["'pair'", "expected the end"]),
        pair(&deep, &["'pair'", "'INPUT0'"]),
        pair(&format!("{{{}}}", many.join(",")), &["'pair'", "parameters", "64"]),
        lines.pair(&b"{\"stop\":\"\xff\"}"[..], &["'pair'", "UTF-8"]),
        lines.pair(vec![b' '; BODY_LIMIT + 1], &["8192"]).gets(413),
        pair(r#"{"INPUT0":[1,2,3,4]}"#, &["'pair'", "'INPUT1'", "missing", "INT8 [-1,2]"]),
        pair(r#"{"INPUT0":1,"INPUT0":1}"#, &["'pair'", "'INPUT0'"]),
        pair(r#"{"INPUT1":[1,2],"parameters":{"INPUT1":[1,2]}}"#, &["'INPUT1'", "twice"]),
        pair(r#"{"id":1}"#, &["'pair'", "a string"]),
        pair(r#"{"id":"a","id":"b"}"#, &["'pair'", "duplicate key 'id'"]),
        pair(r#"{"parameters":1}"#, &["'pair'", "'{'"]),
        pair(r#"{"parameters":{},"parameters":{}}"#, &["'pair'", "duplicate key 'parameters'"]),
        pair(r#"{"x":1,"parameters":{"x":1}}"#, &["'pair'", "duplicate key 'x'"]),
        pair(r#"{"x":null}"#, &["'pair'", "'x'", "null"]),
        pair(r#"{"x":[1]}"#, &["'pair'", "'x'"]),
        pair(r#"{"x":{"y":1}}"#, &["'pair'", "'x'"]),
        pair(r#"{"timeout":"soon"}"#, &["'pair'", "'timeout'", "'soon'"]),
        pair(r#"{"priority":-1}"#, &["'pair'", "'priority'", "-1"]),
        pair(r#"{"non_finite":"nan"}"#, &["'pair'", "'non_finite'", "'nan'", "'literal'"]),
        pair(r#"{"sequence_start":7}"#, &["'pair'", "'sequence_start'", "7"]),
        pair(r#"{"triton_speed":1}"#, &["'pair'", "triton_speed"]),
    ]
}

/// Requests whose inputs are wrong.
fn of_inputs(lines: &Lines) -> Vec<Row<'_>> {
    let pair = |first: &str, second: &str, says| {
        lines.pair(format!(r#"{{"INPUT0":{first},"INPUT1":{second}}}"#), says)
    };
    let zeros = |count| format!("[{}]", vec!["0"; count].join(","));
    vec![
        pair("[1,2,3]", "[1,2]", &["'pair'", "'INPUT0'", "3 values", "[-1,4]"]),
        pair("1", "[1,2]", &["'pair'", "'INPUT0'", "1 values", "[-1,4]"]),
        pair("[[1,2],[3]]", "[1,2]", &["'pair'", "'INPUT0'"]),
        pair("[1,2,3,4]", "[1,128]", &["'pair'", "'INPUT1'", "-128 to 127", "128"]),
        pair("[]", "[]", &["'pair'", "'INPUT0'", "[0,4]", "at least one row"]),
        pair(&zeros(20), &zeros(10), &["'pair'", "5 rows", "at most 4"]),
        pair(&zeros(8), "[1,2]", &["'pair'", "'INPUT1'", "1 rows", "'INPUT0' has 2"]),
        lines.scalar("fp32", "1e39", &["'fp32'", "'INPUT0'", "1e39"]),
        lines.scalar("fp32", "null", &["'fp32'", "'INPUT0'", "null"]),
        lines.scalar("fp32", r#""a""#, &["'fp32'", "'INPUT0'", "FP32", "\"a\""]),
        lines.scalar("fp32", "{}", &["'fp32'", "'INPUT0'"]),
        lines.scalar("fp32", "[1,2]", &["'fp32'", "'INPUT0'", "2 values", "[1]"]),
        lines.scalar("int8", "1.5", &["'int8'", "'INPUT0'", "1.5"]),
        lines.scalar("bool", r#""false""#, &["'bool'", "'INPUT0'", "BOOL"]),
        lines.scalar("bool", "1", &["'bool'", "'INPUT0'", "BOOL"]),
        lines.scalar("fp16", "1", &["'fp16'", "'INPUT0'", "FP16"]),
        lines.scalar("text", "7", &["'text'", "'INPUT0'", "BYTES", "7"]),
        lines.scalar("text", r#""a""#, &["'text'", "'INPUT0'", "1 values", "[2]"]),
        lines.scalar("text", r#"[{"b64":"*"},"a"]"#, &["'text'", "'INPUT0'", "b64"]),
        lines.scalar("text", r#"[{"hex":"00"},"a"]"#, &["'text'", "'INPUT0'", "b64"]),
    ]
}

/// Requests whose paths, methods or headers are wrong.
fn of_the_head<'a>(lines: &'a Lines, got: &'a str) -> Vec<Row<'a>> {
    let pair = |says| lines.pair("{}", says);
    vec![
        Row::new(got, "", &["GET"]).gets(405),
        Row::new(lines.to("nobody"), "{}", &["'nobody'"]).gets(404),
        Row::new(lines.to("pair/versions/9"), "{}", &["'pair'", "9"]).gets(404),
        Row::new(lines.to("pair/versions/x"), "{}", &["'pair'", "'x'"]),
        pair(&["application/x-protobuf"])
            .with(&["content-type: application/x-protobuf"])
            .gets(415),
        pair(&["'br'", "gzip"]).with(&["content-encoding: br"]).gets(415),
        pair(&["gzip"]).with(&["content-encoding: gzip"]),
        pair(&["x-request-timeout-ms", "'soon'"]).with(&["x-request-timeout-ms: soon"]),
    ]
}

async fn over(route: &str) {
    let (server, _repository) = models().await;
    let mut client = grpc(&server).await;
    let lines = Lines::of(route);
    let got = format!("GET /v2/models/pair/{route}");
    for rows in [
        of_the_object(&lines),
        of_inputs(&lines),
        of_the_head(&lines, &got),
    ] {
        all_refused(&server, &mut client, &rows).await;
    }
    let fine = r#"{"INPUT0":[1,2,3,4],"INPUT1":[1,2]}"#;
    let mut connection = server.connect().await.unwrap();
    let answer = connection.request(lines.to("pair"), &[], fine.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(server.log().lines().all(|line| !line.contains("\"ERROR\"")), "{}", server.log());
}

#[tokio::test]
async fn over_generate() {
    over("generate").await;
}

#[tokio::test]
async fn over_generate_stream() {
    over("generate_stream").await;
}
