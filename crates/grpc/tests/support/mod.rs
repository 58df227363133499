//! What the tests share: a scripted service behind the server's own listener, gRPC and REST on one port.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

use std::net::SocketAddr;
use std::sync::Arc;

use adulis_grpc::{GrpcOptions, routes};
use adulis_http::{Drained, HttpOptions, Listener, ListenerOptions, not_found, router};
use adulis_protocol::grpc::model_infer_request::InferInputTensor;
use adulis_protocol::grpc::{GrpcInferenceServiceClient, ModelInferRequest};
use adulis_testing::ScriptedService;
use adulis_types::Services;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

pub(crate) type Client = GrpcInferenceServiceClient<Channel>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) service: Arc<ScriptedService>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<Drained>,
}

impl Server {
    pub(crate) fn start(options: GrpcOptions) -> Self {
        let service = Arc::new(ScriptedService::default());
        Self::serving(Arc::clone(&service).into(), service, options)
    }

    pub(crate) fn serving(services: Services, service: Arc<ScriptedService>, options: GrpcOptions) -> Self {
        let rest = router(services.clone(), HttpOptions::default());
        let grpc = routes(services, options).into_axum_router().reset_fallback();
        let app = rest.merge(grpc).fallback(not_found);
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), ListenerOptions::default()).unwrap();
        let address = listener.local_addresses().unwrap()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(listener.serve(app, async {
            let _ = stopped.await;
        }));
        Self { address, service, stop, task }
    }

    pub(crate) async fn client(&self) -> Client {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        GrpcInferenceServiceClient::new(channel.connect().await.unwrap())
    }
}

pub(crate) fn default_server() -> Server {
    Server::start(GrpcOptions::default())
}

pub(crate) fn message(model: &str, id: &str, values: &[f32]) -> ModelInferRequest {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    ModelInferRequest {
        model_name: model.to_owned(),
        id: id.to_owned(),
        inputs: vec![InferInputTensor {
            name: "INPUT0".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, i64::try_from(values.len()).unwrap()],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![Bytes::from(data)],
        ..ModelInferRequest::default()
    }
}
