//! Bad places in shared memory: one table, sent to the real server as JSON and over gRPC.

use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::grpc::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use adulis_protocol::grpc::{InferParameter, ModelInferRequest, SystemSharedMemoryRegisterRequest};
use adulis_testing::{IdentityModel, SharedObject, TestRepository, TestServer};
use serde_json::{Map, Value, json};

use crate::send::{told, twin};
use crate::support::{self, Client, serve};

/// Bytes of region `r`, and bytes that one request may read out of regions.
const REGION_BYTES: u64 = 64;

/// One request to `text` or `pair`: a place for its first input, and one for its first output.
struct Case {
    name: &'static str,
    model: &'static str,
    input: Parameters,
    output: Parameters,
    status: u16,
    says: &'static [&'static str],
}

type Parameters = Vec<(&'static str, Value)>;

fn place(region: &str, offset: i64, byte_size: i64) -> Parameters {
    vec![
        ("shared_memory_region", json!(region)),
        ("shared_memory_offset", json!(offset)),
        ("shared_memory_byte_size", json!(byte_size)),
    ]
}

/// What is good about every other request of the table.
fn good() -> Case {
    Case {
        name: "good",
        model: "flags",
        input: place("r", 0, 4),
        output: place("r", 8, 4),
        status: 200,
        says: &[],
    }
}

fn cases() -> Vec<Case> {
    let input = |name, input, says| Case { name, input, says, status: 400, ..good() };
    let output = |name, output, says| Case { name, output, says, status: 400, ..good() };
    let without = |key: &str| {
        let mut place = place("r", 0, 4);
        place.retain(|(name, _)| *name != key);
        place
    };
    let with = |key: &'static str, value: Value| [without(key), vec![(key, value)]].concat();
    let (region, size) = ("shared_memory_region", "shared_memory_byte_size");
    vec![
        Case {
            status: 404,
            ..input("unknown region", place("s", 0, 4), &["input 'INPUT0'", "'s'"])
        },
        Case {
            status: 404,
            ..output("unknown region", place("s", 0, 4), &["output 'OUTPUT0'", "'s'"])
        },
        input("empty region", place("", 0, 4), &["input 'INPUT0'", "''"]).not_found(),
        input("past the end", place("r", 61, 4), &["input 'INPUT0'", "past its end at 64"]),
        output("past the end", place("r", 61, 4), &["output 'OUTPUT0'", "past its end at 64"]),
        input("offset overflows", place("r", i64::MAX, 4), &["input 'INPUT0'", "past its end at 64"]),
        output("size overflows", place("r", 1, i64::MAX), &["output 'OUTPUT0'", "past its end at 64"]),
        input("size of another shape", place("r", 0, 5), &["expected 4 bytes for BOOL [1,4], got 5"]),
        input("size beyond memory", place("r", 0, i64::MAX), &["expected 4 bytes for BOOL [1,4]"]),
        input("no size", without(size), &["input 'INPUT0'", "missing 'shared_memory_byte_size'"]),
        output("no size", without(size), &["output 'OUTPUT0'", "missing 'shared_memory_byte_size'"]),
        input("no region", without(region), &["input 'INPUT0'", "missing 'shared_memory_region'"]),
        input("region is a number", with(region, json!(7)), &["shared_memory_region", "got 7"]),
        input("negative size", place("r", 0, -4), &["shared_memory_byte_size", "got -4"]),
        output("negative offset", place("r", -1, 4), &["shared_memory_offset", "got -1"]),
        output("fractional size", with(size, json!(0.5)), &["shared_memory_byte_size", "got 0.5"]),
        input("bytes that are no flags", place("r", 32, 4), &["'INPUT0'", "0 or 1 for BOOL, got 255"]),
        output("no room", place("r", 8, 3), &["output 'OUTPUT0' has 4 bytes", "gives it 3 in region 'r'"]),
        Case {
            model: "text",
            ..input("prefix past the end", place("r", 32, 8), &["'INPUT0'", "element 0 of 1 is cut short"])
        },
        Case {
            model: "text",
            status: 413,
            ..input("more than a request may", place("whole", 0, 80), &["over the limit of 64"])
        },
    ]
}

impl Case {
    fn not_found(self) -> Self {
        Self { status: 404, ..self }
    }

    fn datatype(&self) -> (&'static str, [i64; 2]) {
        if self.model == "text" { ("BYTES", [1, 1]) } else { ("BOOL", [1, 4]) }
    }

    fn document(&self) -> Value {
        let object = |list: &Parameters| -> Map<String, Value> {
            list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let (datatype, shape) = self.datatype();
        let input = json!({
            "name": "INPUT0", "datatype": datatype, "shape": shape, "parameters": object(&self.input),
        });
        json!({"inputs": [input], "outputs": [{"name": "OUTPUT0", "parameters": object(&self.output)}]})
    }

    fn message(&self) -> ModelInferRequest {
        let choice = |value: &Value| match value {
            Value::String(text) => ParameterChoice::StringParam(text.clone()),
            Value::Number(number) => number.as_i64().map_or_else(
                || ParameterChoice::DoubleParam(number.as_f64().unwrap()),
                ParameterChoice::Int64Param,
            ),
            other => panic!("no parameter of the table is {other}"),
        };
        let parameter = |(name, value): &(&str, Value)| {
            ((*name).to_owned(), InferParameter { parameter_choice: Some(choice(value)) })
        };
        let (datatype, shape) = self.datatype();
        let input = InferInputTensor {
            name: "INPUT0".to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            parameters: self.input.iter().map(parameter).collect(),
            contents: None,
        };
        let parameters = self.output.iter().map(parameter).collect();
        ModelInferRequest {
            model_name: self.model.to_owned(),
            inputs: vec![input],
            outputs: vec![InferRequestedOutputTensor { name: "OUTPUT0".to_owned(), parameters }],
            ..ModelInferRequest::default()
        }
    }
}

/// `flags` takes BOOL `[rows, 4]`, `text` takes BYTES `[rows, 1]`. Region `r` has 64 bytes: flags, then what are none.
async fn sharing() -> (TestServer, Client, SharedObject, TestRepository) {
    let repository = TestRepository::new().unwrap();
    for (name, inputs) in [("flags", &[("BOOL", "4")]), ("text", &[("STRING", "1")])] {
        let model = IdentityModel { inputs, max_batch_size: 4, parameters: &[], more: "" };
        repository.identity(name, &model).unwrap();
    }
    let limit = format!("shared_memory.max_request_bytes={REGION_BYTES}");
    let server = serve(&repository, &["--shared-memory", "--set", &limit]);
    server.ready().await;
    let mut client = support::grpc(&server).await;
    let object = SharedObject::new(&[[0_u8; 32], [255; 32]].concat()).unwrap();
    object.resize(4096).unwrap();
    for (name, byte_size) in [("r", REGION_BYTES), ("whole", 4096)] {
        let region = SystemSharedMemoryRegisterRequest {
            name: name.to_owned(),
            key: object.key().to_owned(),
            offset: 0,
            byte_size,
        };
        client.system_shared_memory_register(region).await.unwrap();
    }
    (server, client, object, repository)
}

/// What the case is told over both protocols, and whether its status is as expected.
async fn send(server: &TestServer, client: &mut Client, case: &Case) -> [(bool, String); 2] {
    let body = case.document().to_string();
    let answer = server.infer(case.model, &[], &body).await.unwrap();
    let rest = (answer.status == case.status, told(answer.status, &answer.body));
    let grpc = match client.model_infer(case.message()).await {
        Ok(_) => (case.status == 200, "OK".to_owned()),
        Err(status) => {
            let expected = case.status != 200 && status.code() == twin(case.status);
            (expected, format!("{:?} {}", status.code(), status.message()))
        }
    };
    [rest, grpc]
}

#[tokio::test]
async fn every_bad_place_is_told_what_is_wrong_with_it() {
    let (server, mut client, object, _repository) = sharing().await;
    let before = object.read(0, 64).unwrap();
    let mut wrong = Vec::new();
    for case in cases() {
        for (as_expected, told) in send(&server, &mut client, &case).await {
            if !as_expected || !case.says.iter().all(|text| told.contains(text)) {
                wrong.push(format!(
                    "{}: expected {} {:?}, was told: {told}",
                    case.name, case.status, case.says
                ));
            }
        }
        assert_eq!(object.read(0, 64).unwrap(), before, "{}: something was written", case.name);
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let fine = send(&server, &mut client, &good()).await;
    assert!(fine.iter().all(|(as_expected, _)| *as_expected), "{fine:?}");
    assert!(server.log().lines().all(|line| !line.contains("\"ERROR\"")), "{}", server.log());
}

/// With a mapping, the server would be gone (SIGBUS).
#[tokio::test]
async fn a_client_that_truncates_its_region_fails_itself_alone() {
    let (server, mut client, object, _repository) = sharing().await;
    object.resize(0).unwrap();
    let case = Case { status: 400, ..good() };
    for (as_expected, told) in send(&server, &mut client, &case).await {
        assert!(as_expected && told.contains("was truncated after it was registered"), "{told}");
    }
    object.resize(64).unwrap();
    let fine = send(&server, &mut client, &good()).await;
    assert!(fine.iter().all(|(as_expected, _)| *as_expected), "{fine:?}");
}
