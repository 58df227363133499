//! From a place in shared memory to the service, and from the service to a place in shared memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use adulis_protocol::rest::{self, OutputFormat};
use adulis_protocol::{grpc, infer};
use adulis_shared_memory::{SharedMemoryOptions, SystemSharedMemory};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_testing::{ScriptedService, SharedObject};
use adulis_types::{
    ErrorKind, InferRequest, InferResponse, InputTensor, ModelRef, RegionPlace, RegionSpec, RequestedOutput,
    Services, SharedInput, SharedMemory,
};
use bytes::Bytes;

/// A service that echoes, the shared memory it is asked with, and one region `r` of 64 bytes.
struct Bench {
    service: Arc<ScriptedService>,
    services: Services,
    memory: Arc<SystemSharedMemory>,
    object: SharedObject,
}

impl Bench {
    fn new() -> Self {
        let service = Arc::new(ScriptedService::default());
        let options = SharedMemoryOptions { max_request_bytes: 64, ..Default::default() };
        let memory = Arc::new(SystemSharedMemory::new(options));
        let object = SharedObject::new(&(0..64).collect::<Vec<u8>>()).unwrap();
        let spec = RegionSpec { name: "r".into(), key: object.key().into(), offset: 0, byte_size: 64 };
        memory.register(spec).unwrap();
        let shared_memory = Some(Arc::clone(&memory) as Arc<dyn SharedMemory>);
        let services = Services { shared_memory, ..Services::from(Arc::clone(&service)) };
        Self { service, services, memory, object }
    }

    async fn refusal(&self, request: InferRequest) -> (ErrorKind, String) {
        let fault = infer(&self.services, request).await.expect_err("a refusal");
        (fault.kind(), fault.client_message().into_owned())
    }

    async fn assert_refused(&self, request: InferRequest, kind: ErrorKind, expected: &str) {
        let (found, message) = self.refusal(request).await;
        assert_eq!(message, format!("model 'echo': {expected}"));
        assert_eq!(found, kind);
        assert_eq!(self.service.calls.started.load(Ordering::SeqCst), 0, "the service was asked");
    }
}

fn place(offset: u64, byte_size: u64) -> RegionPlace {
    RegionPlace { region: "r".into(), offset, byte_size }
}

fn shared(name: &str, datatype: DataType, shape: &[usize], place: RegionPlace) -> SharedInput {
    SharedInput { index: 0, name: name.into(), datatype, shape: Shape::new(shape), place }
}

/// A request with one shared input, for its refusal.
fn asks(input: SharedInput) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest("echo"));
    request.shared_inputs.push(input);
    request
}

/// A request with one input of 8 bytes in it, whose output is wanted in shared memory.
fn wants(place: RegionPlace) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest("echo"));
    let data = Bytes::from_static(b"abcdefgh");
    let tensor = Tensor::new(DataType::Uint8, Shape::from([8]), data).unwrap();
    request.inputs.push(InputTensor { name: "X".into(), tensor });
    request
        .outputs
        .push(RequestedOutput { place: Some(place.into()), ..RequestedOutput::new("X") });
    request
}

fn tensor<'a>(response: &'a InferResponse, name: &str) -> &'a Tensor {
    let output = response.outputs.iter().find(|output| &*output.name == name);
    &output.expect("an output of this name").tensor
}

#[tokio::test]
async fn inputs_are_read_where_they_are() {
    let bench = Bench::new();
    let mut request = wants(place(0, 8));
    request.outputs.clear();
    request.shared_inputs = vec![
        shared("A", DataType::Uint8, &[4], place(10, 4)),
        SharedInput { index: 2, ..shared("B", DataType::Uint16, &[1, 2], place(0, 4)) },
    ];
    let response = infer(&bench.services, request).await.unwrap();
    let names: Vec<&str> = response.outputs.iter().map(|output| &*output.name).collect();
    assert_eq!(names, ["A", "X", "B"], "in the order in which they came");
    assert_eq!(&tensor(&response, "A").data()[..], [10, 11, 12, 13]);
    assert_eq!(tensor(&response, "B").shape(), &Shape::from([1, 2]));
    bench.object.write(0, &[0; 64]).unwrap();
    assert_eq!(&tensor(&response, "B").data()[..], [0, 1, 2, 3], "the client changes its own memory only");
}

#[tokio::test]
async fn outputs_are_written_where_they_belong() {
    let bench = Bench::new();
    let response = infer(&bench.services, wants(place(16, 32))).await.unwrap();
    assert_eq!(response.outputs[0].written.as_deref(), Some(&place(16, 8)));
    assert_eq!(bench.object.read(14, 12).unwrap(), b"\x0e\x0fabcdefgh\x18\x19");

    let body = rest::encode_infer(response.clone(), &OutputFormat::new(true)).unwrap();
    assert_eq!(body.header_length, None);
    let json = String::from_utf8(body.into_bytes().into()).unwrap();
    assert!(json.ends_with(r#""outputs":[{"name":"X","datatype":"UINT8","shape":[8]}]}"#), "{json}");
    let error = rest::decode_response(json.into(), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model 'echo': output 'X': expected 'data' or 'binary_data_size', got neither"
    );

    let message = grpc::encode_infer(response);
    assert_eq!(message.raw_output_contents, [Bytes::new()], "it keeps its place among the others");
    let names: Vec<&String> = message.outputs[0].parameters.keys().collect();
    assert_eq!(
        names,
        [
            "shared_memory_byte_size",
            "shared_memory_offset",
            "shared_memory_region"
        ]
    );
    assert!(grpc::decode_response(message).is_err());
}

#[tokio::test]
async fn byte_strings_come_and_go() {
    let bench = Bench::new();
    let text = b"\x02\0\0\0hi\0\0\0\0";
    bench.object.write(0, text).unwrap();
    let mut request = asks(shared("X", DataType::Bytes, &[2], place(0, 10)));
    let output = RequestedOutput { place: Some(place(20, 44).into()), ..RequestedOutput::new("X") };
    request.outputs.push(output);
    let response = infer(&bench.services, request).await.unwrap();
    assert_eq!(response.outputs[0].written.as_deref(), Some(&place(20, 10)));
    assert_eq!(bench.object.read(20, 10).unwrap(), text);
}

#[tokio::test]
async fn what_does_not_fit_its_place_is_refused() {
    let bench = Bench::new();
    bench.object.write(0, &[1, 2, 3, 4]).unwrap();
    let uint8 = |size: usize, place| asks(shared("A", DataType::Uint8, &[size], place));
    for (request, expected) in [
        (uint8(4, place(0, 5)), "input 'A': expected 4 bytes for UINT8 [4], got 5"),
        (
            asks(shared("A", DataType::Fp32, &[usize::MAX, 2], place(0, 8))),
            "input 'A': shape [18446744073709551615,2] has more elements than can be addressed",
        ),
        (
            uint8(8, place(57, 8)),
            "input 'A': invalid offset + byte size for shared memory region: 'r': offset 57 and byte size 8 reach past \
             its end at 64",
        ),
        (
            asks(shared("A", DataType::Bool, &[4], place(0, 4))),
            "input 'A': expected bytes of 0 or 1 for BOOL, got 2 at element 1",
        ),
        (
            asks(shared("A", DataType::Bytes, &[1], place(0, 4))),
            "input 'A': BYTES element 0 of 1 is cut short: its length prefix or its bytes reach past the end",
        ),
        (
            wants(place(60, 8)),
            "output 'X': invalid offset + byte size for shared memory region: 'r': offset 60 and byte size 8 reach past \
             its end at 64",
        ),
    ] {
        bench.assert_refused(request, ErrorKind::InvalidArgument, expected).await;
    }
}

#[tokio::test]
async fn regions_that_are_not_there_are_named() {
    let bench = Bench::new();
    let elsewhere = RegionPlace { region: "s".into(), ..place(0, 8) };
    let expected = "unable to find shared memory region: 's'";
    let request = asks(shared("A", DataType::Uint8, &[8], elsewhere.clone()));
    bench
        .assert_refused(request, ErrorKind::NotFound, &format!("input 'A': {expected}"))
        .await;
    let request = wants(elsewhere);
    bench
        .assert_refused(request, ErrorKind::NotFound, &format!("output 'X': {expected}"))
        .await;
}

#[tokio::test]
async fn one_request_reads_no_more_than_it_may() {
    let bench = Bench::new();
    let mut request = asks(shared("A", DataType::Uint8, &[64], place(0, 64)));
    request.shared_inputs.push(shared("B", DataType::Uint8, &[1], place(0, 1)));
    let expected = "input 'B': the inputs in shared memory have 65 bytes up to here, over the limit of 64 for one request";
    bench.assert_refused(request, ErrorKind::TooLarge, expected).await;
}

#[tokio::test]
async fn without_shared_memory_it_says_so() {
    let mut bench = Bench::new();
    bench.services.shared_memory = None;
    let off = "shared memory is off on this server: start it with --shared-memory, or send and take the data itself";
    let request = asks(shared("A", DataType::Uint8, &[8], place(0, 8)));
    bench.assert_refused(request, ErrorKind::Unsupported, &format!("input 'A': {off}")).await;
    bench
        .assert_refused(wants(place(0, 8)), ErrorKind::Unsupported, &format!("output 'X': {off}"))
        .await;
}

#[tokio::test]
async fn an_output_without_room_is_an_error_and_nothing_is_written() {
    let bench = Bench::new();
    let mut request = wants(place(0, 8));
    let tensor = request.inputs[0].tensor.clone();
    request.inputs.push(InputTensor { name: "Y".into(), tensor });
    let small = RequestedOutput { place: Some(place(8, 7).into()), ..RequestedOutput::new("Y") };
    request.outputs.push(small);
    let (kind, message) = bench.refusal(request).await;
    assert_eq!(
        message,
        "model 'echo': output 'Y' has 8 bytes, but 'shared_memory_byte_size' gives it 7 in region 'r'"
    );
    assert_eq!(kind, ErrorKind::InvalidArgument);
    assert_eq!(bench.object.read(0, 64).unwrap(), (0..64).collect::<Vec<u8>>());
}

#[tokio::test]
async fn a_region_in_use_outlives_its_registration() {
    let bench = Bench::new();
    let mut request = wants(place(0, 8));
    request.model.name = "held".into();
    let services = bench.services.clone();
    let running = tokio::spawn(async move { infer(&services, request).await });
    bench.service.calls.wait_started(1).await;
    bench.memory.unregister_all();
    bench.service.release.add_permits(1);
    running.await.unwrap().unwrap();
    assert_eq!(bench.object.read(0, 8).unwrap(), b"abcdefgh");
}

#[tokio::test]
async fn a_truncated_region_fails_the_request_and_nothing_else() {
    let bench = Bench::new();
    bench.object.resize(0).unwrap();
    let request = asks(shared("A", DataType::Uint8, &[8], place(0, 8)));
    let expected = "input 'A': shared memory region 'r' was truncated after it was registered";
    bench.assert_refused(request, ErrorKind::InvalidArgument, expected).await;
}
