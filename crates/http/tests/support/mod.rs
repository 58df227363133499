//! What the integration tests share: a server on a free port over a scripted service.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "test code outside test functions"
)]

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use adulis_http::{Drained, HttpOptions, Listener, ListenerOptions, router};
use adulis_testing::{RawConnection, RawResponse, ScriptedService};
use axum::Router;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) service: Arc<ScriptedService>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Drained>,
}

impl Server {
    pub(crate) async fn start(http: HttpOptions, listener: ListenerOptions) -> Self {
        let service = Arc::new(ScriptedService::default());
        let app = router(Arc::clone(&service), http);
        Self::with_router(app, service, listener)
    }

    pub(crate) fn with_router(app: Router, service: Arc<ScriptedService>, options: ListenerOptions) -> Self {
        Self::on(Listener::bind(([127, 0, 0, 1], 0).into(), options).unwrap(), app, service)
    }

    pub(crate) fn on(listener: Listener, app: Router, service: Arc<ScriptedService>) -> Self {
        let address = listener.local_addresses().unwrap()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(listener.serve(app, async {
            let _ = stopped.await;
        }));
        Self { address, service, stop: Some(stop), task }
    }

    pub(crate) async fn default() -> Self {
        Self::start(HttpOptions::default(), ListenerOptions::default()).await
    }

    pub(crate) async fn connect(&self) -> RawConnection {
        RawConnection::open(self.address).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> RawResponse {
        self.connect().await.request(&format!("GET {path}"), &[], b"").await.unwrap()
    }

    pub(crate) async fn infer(&self, model: &str, headers: &[&str], body: &[u8]) -> RawResponse {
        let line = format!("POST /v2/models/{model}/infer");
        self.connect().await.request(&line, headers, body).await.unwrap()
    }

    pub(crate) fn begin_shutdown(&mut self) {
        self.stop.take();
    }

    pub(crate) async fn stopped(self) -> Drained {
        drop(self.stop);
        self.task.await.unwrap()
    }
}

/// A JSON body of one input of `count` numbers.
pub(crate) fn json_body(count: usize) -> Vec<u8> {
    let data: Vec<String> = (0..count).map(|value| value.to_string()).collect();
    format!(
        r#"{{"inputs":[{{"name":"INPUT0","datatype":"FP32","shape":[1,{count}],"data":[{}]}}]}}"#,
        data.join(",")
    )
    .into_bytes()
}

/// A body of one binary input and output of `count` numbers, and the length of its JSON.
pub(crate) fn binary_body(count: usize) -> (Vec<u8>, usize) {
    let mut body = format!(
        r#"{{"parameters":{{"binary_data_output":true}},"inputs":[{{"name":"INPUT0","datatype":"FP32","shape":[1,{count}],"parameters":{{"binary_data_size":{}}}}}]}}"#,
        count * 4
    )
    .into_bytes();
    let header = body.len();
    body.extend(tensor(count));
    (body, header)
}

pub(crate) fn tensor(count: usize) -> Vec<u8> {
    (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect()
}

pub(crate) fn assert_error(response: &RawResponse, status: u16, part: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let message = body["error"].as_str().unwrap();
    assert!(message.contains(part), "{message}");
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(response.header("x-request-id").is_some());
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut out).unwrap();
    out
}
