//! Good bodies of every form, cut short at every length: none is taken for whole, and nothing but a refusal comes of it.

use adulis_protocol::{flatbuffers, grpc as codec};
use adulis_testing::TestServer;

use crate::cases;
use crate::models;
use crate::send::{document, good, message, native, told};
use crate::support::grpc;

/// A form of the good request: the line, a header, the body.
struct Form {
    line: &'static str,
    header: String,
    body: Vec<u8>,
}

fn forms() -> Vec<Form> {
    const INFER: &str = "POST /v2/models/pair/infer";
    let case = cases::good();
    let json = document(&case, false);
    let head = document(&case, true);
    let raw: Vec<u8> = case.inputs.iter().flat_map(|input| input.raw.clone().unwrap()).collect();
    let message = message(&case).unwrap();
    let buffer = flatbuffers::encode_request(&native(&case).unwrap()).unwrap().concat();
    let typed = |name: &str| format!("content-type: application/{name}");
    let protobuf = prost::Message::encode_to_vec(&message);
    assert!(codec::decode_infer(message).is_ok());
    let predict = br#"{"instances":[{"INPUT0":[1,2,3,4],"INPUT1":[1,2]}]}"#.to_vec();
    let length = format!("inference-header-content-length: {}", head.len());
    vec![
        Form { line: INFER, header: typed("json"), body: json.into_bytes() },
        Form { line: INFER, header: length, body: [head.into_bytes(), raw].concat() },
        Form { line: INFER, header: typed("x-protobuf"), body: protobuf },
        Form { line: INFER, header: typed("x-flatbuffers"), body: buffer },
        Form { line: "POST /v1/models/pair:predict", header: typed("json"), body: predict },
    ]
}

async fn status_and_message(server: &TestServer, form: &Form, length: usize) -> (u16, String) {
    let mut connection = server.connect().await.unwrap();
    let answer = connection.request(form.line, &[&form.header], &form.body[..length]).await.unwrap();
    (answer.status, told(answer.status, &answer.body))
}

#[tokio::test]
async fn at_every_length() {
    let (server, _repository) = models().await;
    let mut client = grpc(&server).await;
    for form in forms() {
        let whole = form.body.len();
        let (status, message) = status_and_message(&server, &form, whole).await;
        assert_eq!(status, 200, "{}: {message}", form.header);
        for length in 0..whole {
            let (status, message) = status_and_message(&server, &form, length).await;
            let refused = status == 400 && !message.contains("no JSON error") && message.contains("'pair'");
            assert!(refused, "{} cut at {length} of {whole}: {message}", form.header);
        }
        good(&server, &mut client).await;
    }
}
