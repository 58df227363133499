//! Bad requests: one table, sent to the real server as JSON, as binary tensors, as Protocol Buffers and FlatBuffers over HTTP and
//! over gRPC; and tables of what is wrong in one of these alone, or with a request of another kind. Each is refused with its
//! status, is told what was expected and what came, and the server goes on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod buffers;
mod cases;
mod control;
mod cut;
mod frames;
mod generate;
mod parameters;
mod predict;
mod repository;
mod rows;
mod send;
mod shared_memory;
#[path = "../support/mod.rs"]
mod support;

use adulis_testing::{IdentityModel, TestRepository, TestServer};

use self::send::{Answer, good, over_grpc, over_http, over_rest};
use self::support::serve;

/// One bad request, and what it is told.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) model: &'static str,
    pub(crate) version: &'static str,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: &'static [&'static str],
    /// The HTTP status; the gRPC code is its twin.
    pub(crate) status: u16,
    /// What the message contains.
    pub(crate) says: Vec<String>,
}

/// One input. It travels only in the forms that it has: without `raw` there is no binary and no gRPC request of its case.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) datatype: &'static str,
    pub(crate) shape: Vec<i64>,
    pub(crate) json: Option<String>,
    pub(crate) raw: Option<Vec<u8>>,
}

/// Longest REST body that the server under test takes.
pub(crate) const BODY_LIMIT: usize = 8192;

/// Datatypes, as a configuration and as requests write them, of the models with one input of one element.
pub(crate) const SCALARS: [(&str, &str); 13] = [
    ("BOOL", "bool"),
    ("UINT8", "uint8"),
    ("UINT16", "uint16"),
    ("UINT32", "uint32"),
    ("UINT64", "uint64"),
    ("INT8", "int8"),
    ("INT16", "int16"),
    ("INT32", "int32"),
    ("INT64", "int64"),
    ("FP16", "fp16"),
    ("BF16", "bf16"),
    ("FP32", "fp32"),
    ("FP64", "fp64"),
];

/// `pair` takes FP32 `[rows, 4]` and INT8 `[rows, 2]`, up to 4 rows; `text` takes BYTES `[2]`; each of [`SCALARS`] its one
/// element.
async fn models() -> (TestServer, TestRepository) {
    models_with(&[]).await
}

/// The same server with further arguments.
async fn models_with(arguments: &[&str]) -> (TestServer, TestRepository) {
    let repository = TestRepository::new().unwrap();
    let identity = |name: &str, inputs: &[(&str, &str)], max_batch_size| {
        let model = IdentityModel { inputs, max_batch_size, parameters: &[], more: "" };
        repository.identity(name, &model).unwrap();
    };
    identity("pair", &[("FP32", "4"), ("INT8", "2")], 4);
    identity("text", &[("STRING", "2")], 0);
    for (datatype, name) in SCALARS {
        identity(name, &[(datatype, "1")], 0);
    }
    let limit = format!("server.max_body_bytes={BODY_LIMIT}");
    let grpc_limit = format!("server.max_grpc_message_bytes={BODY_LIMIT}");
    let limits = ["--set", &limit, "--set", &grpc_limit];
    let server = serve(&repository, &[&limits, arguments].concat());
    server.ready().await;
    (server, repository)
}

#[tokio::test]
async fn every_bad_request_is_told_what_is_wrong_with_it() {
    let (server, _repository) = models().await;
    let mut client = support::grpc(&server).await;
    good(&server, &mut client).await;
    let (mut wrong, mut sent) = (Vec::new(), 0);
    for case in cases::all() {
        let mut answers: Vec<Answer> = over_rest(&server, &case).await;
        answers.extend(over_http(&server, &case).await);
        answers.extend(over_grpc(&mut client, &case).await);
        assert!(!answers.is_empty(), "{}: there is no form in which it could be sent", case.name);
        sent += answers.len();
        wrong.extend(answers.iter().filter_map(|answer| answer.complaint(&case)));
        good(&server, &mut client).await;
    }
    assert!(wrong.is_empty(), "{} of {sent} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(server.log().lines().all(|line| !line.contains("\"ERROR\"")), "{}", server.log());
}
