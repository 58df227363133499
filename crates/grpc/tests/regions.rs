//! RPCs of shared memory over a scripted service.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;

use adulis_grpc::GrpcOptions;
use adulis_protocol::grpc::infer_parameter::ParameterChoice;
use adulis_protocol::grpc::model_infer_request::InferRequestedOutputTensor;
use adulis_protocol::grpc::{
    CudaSharedMemoryRegisterRequest, CudaSharedMemoryStatusRequest, CudaSharedMemoryUnregisterRequest,
    InferParameter, ModelInferRequest, ServerMetadataRequest, SystemSharedMemoryRegisterRequest,
    SystemSharedMemoryStatusRequest, SystemSharedMemoryUnregisterRequest,
};
use adulis_shared_memory::SystemSharedMemory;
use adulis_testing::{ScriptedService, SharedObject};
use adulis_types::{Services, SharedMemory};
use support::{Client, Server, default_server, message};
use tonic::{Code, Status};

fn sharing() -> Server {
    let service = Arc::new(ScriptedService::default());
    let memory: Arc<dyn SharedMemory> = Arc::new(SystemSharedMemory::default());
    let services = Services { shared_memory: Some(memory), ..Services::from(Arc::clone(&service)) };
    Server::serving(services, service, GrpcOptions::default())
}

async fn register(client: &mut Client, name: &str, object: &SharedObject) -> Result<(), Status> {
    let region = SystemSharedMemoryRegisterRequest {
        name: name.to_owned(),
        key: object.key().to_owned(),
        offset: 4,
        byte_size: 12,
    };
    client.system_shared_memory_register(region).await.map(|_| ())
}

async fn unregister(client: &mut Client, name: &str) {
    let region = SystemSharedMemoryUnregisterRequest { name: name.to_owned() };
    client.system_shared_memory_unregister(region).await.unwrap();
}

/// Names, offsets and sizes.
async fn regions(client: &mut Client, name: &str) -> Result<Vec<(String, u64, u64)>, Status> {
    let request = SystemSharedMemoryStatusRequest { name: name.to_owned() };
    let regions = client.system_shared_memory_status(request).await?.into_inner().regions;
    Ok(regions
        .into_iter()
        .map(|(name, region)| {
            assert_eq!(name, region.name);
            assert!(region.key.starts_with("/adulis-test-"), "{}", region.key);
            (name, region.offset, region.byte_size)
        })
        .collect())
}

#[tokio::test]
async fn regions_are_registered_listed_and_forgotten() {
    let server = sharing();
    let client = &mut server.client().await;
    let object = SharedObject::new(&[0; 16]).unwrap();
    register(client, "b", &object).await.unwrap();
    register(client, "a", &object).await.unwrap();
    let of = |name: &str| (name.to_owned(), 4, 12);
    assert_eq!(regions(client, "").await.unwrap(), [of("a"), of("b")]);
    assert_eq!(regions(client, "b").await.unwrap(), [of("b")]);
    let twice = register(client, "b", &object).await.unwrap_err();
    assert_eq!(
        (twice.code(), twice.message()),
        (Code::AlreadyExists, "shared memory region 'b' already in manager")
    );
    unregister(client, "b").await;
    unregister(client, "b").await;
    assert_eq!(regions(client, "b").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(regions(client, "").await.unwrap(), [of("a")]);
    unregister(client, "").await;
    assert_eq!(regions(client, "").await.unwrap(), []);
}

/// Four bytes at an offset of region `r`.
fn place(offset: i64) -> [(String, InferParameter); 3] {
    [
        ("shared_memory_region", ParameterChoice::StringParam("r".to_owned())),
        ("shared_memory_offset", ParameterChoice::Int64Param(offset)),
        ("shared_memory_byte_size", ParameterChoice::Int64Param(4)),
    ]
    .map(|(name, value)| (name.to_owned(), InferParameter { parameter_choice: Some(value) }))
}

/// One number of region `r`, and its answer to eight bytes behind it.
fn shared() -> ModelInferRequest {
    let mut request = message("echo", "", &[0.0]);
    request.raw_input_contents.clear();
    request.inputs[0].parameters = place(0).into();
    let output = InferRequestedOutputTensor { name: "INPUT0".to_owned(), parameters: place(8).into() };
    request.outputs.push(output);
    request
}

#[tokio::test]
async fn tensors_come_from_and_go_to_their_regions() {
    let server = sharing();
    let client = &mut server.client().await;
    let object = SharedObject::new(b"....\x01\x02\x03\x04________").unwrap();
    register(client, "r", &object).await.unwrap();
    let answer = client.model_infer(shared()).await.unwrap().into_inner();
    assert_eq!(answer.outputs[0].parameters, place(8).into());
    assert_eq!(answer.raw_output_contents, [b"".as_slice()]);
    assert_eq!(object.read(0, 16).unwrap(), b"....\x01\x02\x03\x04____\x01\x02\x03\x04");
}

#[tokio::test]
async fn and_on_a_stream() {
    let server = sharing();
    let client = &mut server.client().await;
    let object = SharedObject::new(b"....\x01\x02\x03\x04________").unwrap();
    register(client, "r", &object).await.unwrap();
    let mut unknown = shared();
    unknown.outputs[0].parameters.extend(place(9));
    for (request, written) in [(unknown, false), (shared(), true)] {
        let stream = client.model_stream_infer(tokio_stream::once(request)).await.unwrap();
        let answer = stream.into_inner().message().await.unwrap().unwrap();
        assert_eq!(answer.error_message.is_empty(), written, "{}", answer.error_message);
        let expected = if written { b"\x01\x02\x03\x04" } else { b"____" };
        assert_eq!(object.read(12, 4).unwrap(), expected);
    }
}

#[tokio::test]
async fn cuda_has_no_regions() {
    let server = sharing();
    let client = &mut server.client().await;
    let all = client.cuda_shared_memory_status(CudaSharedMemoryStatusRequest::default()).await.unwrap();
    assert!(all.into_inner().regions.is_empty());
    let one = CudaSharedMemoryStatusRequest { name: "g".to_owned() };
    assert_eq!(client.cuda_shared_memory_status(one).await.unwrap_err().code(), Code::NotFound);
    for name in ["", "g"] {
        let region = CudaSharedMemoryUnregisterRequest { name: name.to_owned() };
        client.cuda_shared_memory_unregister(region).await.unwrap();
    }
    let region = CudaSharedMemoryRegisterRequest { name: "g".to_owned(), ..Default::default() };
    let refused = client.cuda_shared_memory_register(region).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("'g': this server opens no memory of a GPU"), "{refused}");
}

#[tokio::test]
async fn where_it_is_off_it_says_so() {
    let server = default_server();
    let client = &mut server.client().await;
    let object = SharedObject::new(&[0; 16]).unwrap();
    for refused in [
        register(client, "r", &object).await.unwrap_err(),
        client.model_infer(shared()).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::Unimplemented);
        assert!(refused.message().contains("shared memory is off on this server"), "{refused}");
    }
    unregister(client, "").await;
    assert_eq!(regions(client, "").await.unwrap(), []);
    assert_eq!(regions(client, "r").await.unwrap_err().code(), Code::NotFound);
    let metadata = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert!(!metadata.extensions.iter().any(|name| name.contains("shared_memory")));
    let metadata = sharing().client().await.server_metadata(ServerMetadataRequest {}).await;
    let extensions = metadata.unwrap().into_inner().extensions;
    assert!(extensions.contains(&"system_shared_memory".to_owned()), "{extensions:?}");
}
