use std::sync::Arc;

use adulis_grpc::GrpcOptions;
use adulis_http::{HeaderPattern, HttpOptions, ResponseCompression, Router};
use adulis_protocol::{grpc, rest};
use adulis_types::{
    BoxFuture, Fault, InferRequest, InferResponse, InferenceService, ModelMetadata, ModelRef, ServerMetadata,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header, response};
use http_body_util::{BodyExt, Full};
use prost::Message;
use serde::de::IgnoredAny;
use tokio::runtime::{Builder, Runtime};
use tower::Service;

use crate::model::{echo, metadata};

const BODY: &str = r#"{"inputs":[{"name":"A","shape":[2],"datatype":"FP32","data":[1,2]}]}"#;
/// Headers of this kind become parameters.
const FORWARDED: &str = "^x-f-";
/// gRPC's codes that say that the server is at fault: `UNKNOWN` and `INTERNAL`.
const SERVERS_FAULT: [i32; 2] = [2, 13];

/// Headers of an inference: the first byte chooses REST or gRPC, each line behind it is `name: value`. What they say of timeouts,
/// codings, forms, ids and caching is taken or refused as a client's fault, in words or with a status.
#[must_use]
pub fn headers(input: &[u8]) -> bool {
    let Some((wire, lines)) = input.split_first() else {
        return false;
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.split(|byte| *byte == b'\n').filter_map(header_of) {
        if headers.try_append(name, value).is_err() {
            return false;
        }
    }
    BENCH.with(|bench| if wire.is_multiple_of(2) { bench.rest(headers) } else { bench.grpc(headers) })
}

/// A header as it comes from a connection. What frames the body was looked at before that.
fn header_of(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    let frames = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&name);
    (!frames).then_some((name, value))
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

/// Both frontends over a model that gives back what it is sent.
struct Bench {
    runtime: Runtime,
    router: Router,
    message: Bytes,
}

impl Bench {
    fn new() -> Self {
        let forwarded = HeaderPattern::parse(FORWARDED).expect("a pattern");
        let rest = HttpOptions {
            compression: ResponseCompression::Accepted,
            min_compress_bytes: 0,
            forward_headers: Some(forwarded.clone()),
            ..HttpOptions::default()
        };
        let grpc = GrpcOptions {
            compress_responses: true,
            forward_metadata: Some(forwarded),
            ..GrpcOptions::default()
        };
        let router = adulis_http::router(Arc::new(Echo), rest);
        let routes = adulis_grpc::routes(Arc::new(Echo), grpc).into_axum_router().reset_fallback();
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { runtime, router: router.merge(routes), message: message() }
    }

    fn rest(&self, headers: HeaderMap) -> bool {
        let (head, body, _) = self.asked("/v2/models/m/infer", headers, Bytes::from_static(BODY.as_bytes()));
        let told = || format!("{head:?} {}", body.escape_ascii());
        if head.status == StatusCode::OK {
            return true;
        }
        assert!(head.status != StatusCode::INTERNAL_SERVER_ERROR, "{}", told());
        assert!(serde_json::from_slice::<IgnoredAny>(&body).is_ok(), "{}", told());
        false
    }

    fn grpc(&self, mut headers: HeaderMap) -> bool {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let path = "/inference.GRPCInferenceService/ModelInfer";
        let (head, _, trailers) = self.asked(path, headers, self.message.clone());
        let status = head.headers.get("grpc-status").or_else(|| trailers.get("grpc-status"));
        let status = status.and_then(|status| status.to_str().ok()?.parse().ok());
        let status: i32 = status.unwrap_or_else(|| unreachable!("no status: {head:?}"));
        assert!(!SERVERS_FAULT.contains(&status), "{head:?} {trailers:?}");
        status == 0
    }

    /// The answer to a request: its head, its body and its trailers.
    fn asked(&self, path: &str, headers: HeaderMap, body: Bytes) -> (response::Parts, Bytes, HeaderMap) {
        let mut request = Request::post(path).body(Full::new(body)).expect("a sound request");
        *request.headers_mut() = headers;
        self.runtime.block_on(async {
            let Ok(answer) = self.router.clone().call(request).await;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.expect("the answer is whole");
            let trailers = body.trailers().cloned().unwrap_or_default();
            (head, body.to_bytes(), trailers)
        })
    }
}

/// A sound message, as gRPC frames it.
fn message() -> Bytes {
    let request = rest::decode_infer(ModelRef::latest("m"), Bytes::from_static(BODY.as_bytes()), None);
    let message = grpc::encode_request(&request.expect("a sound request").request).encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], &message].concat().into()
}

struct Echo;

impl InferenceService for Echo {
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        Box::pin(async { Ok(echo(request)) })
    }

    fn ready(&self) -> bool {
        true
    }

    fn model_ready(&self, _: &ModelRef) -> Result<bool, Fault> {
        Ok(true)
    }

    fn server_metadata(&self) -> ServerMetadata {
        ServerMetadata { name: "fuzz".into(), version: "0".into(), extensions: Vec::new() }
    }

    fn model_metadata(&self, _: &ModelRef) -> Result<ModelMetadata, Fault> {
        Ok(metadata(&[]))
    }
}
