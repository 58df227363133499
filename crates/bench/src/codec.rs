use adulis_types::{InferRequest, ModelRef};
use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;

use crate::client::USER_AGENT;
use crate::grpc::frame;
use crate::target::{Protocol, Target};

/// Path of the gRPC method.
pub(crate) const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Characters of a model's name that a path has as they are.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// `/v2/models/NAME[/versions/VERSION]`
pub(crate) fn model_path(target: &Target, model: &ModelRef) -> String {
    let name = utf8_percent_encode(&model.name, PATH);
    match model.version {
        Some(version) => format!("{}/v2/models/{name}/versions/{version}", target.base_path),
        None => format!("{}/v2/models/{name}", target.base_path),
    }
}

/// Puts requests into the form in which they go over the wire to `target`: over REST head and body together, over gRPC
/// a framed message.
///
/// `raw` is the path that REST bodies are posted to in place of the model's.
///
/// # Errors
/// For a request of more than 4 GiB over gRPC.
pub(crate) fn serialise(
    target: &Target,
    requests: &[InferRequest],
    headers: &[(HeaderName, HeaderValue)],
    raw: Option<&str>,
) -> anyhow::Result<Vec<Bytes>> {
    requests
        .iter()
        .map(|request| match target.protocol {
            Protocol::Grpc => {
                let message = adulis_protocol::grpc::encode_request(request);
                frame(&message.encode_to_vec()).context("the request is longer than a gRPC message can be")
            }
            Protocol::RestJson | Protocol::RestBinary => {
                let path = match raw {
                    Some(path) => path.to_owned(),
                    None => format!("{}/infer", model_path(target, &request.model)),
                };
                Ok(rest_request(target, request, headers, &path))
            }
        })
        .collect()
}

fn rest_request(
    target: &Target,
    request: &InferRequest,
    headers: &[(HeaderName, HeaderValue)],
    path: &str,
) -> Bytes {
    let binary = target.protocol == Protocol::RestBinary;
    let body = adulis_protocol::rest::encode_request(request, binary, binary);
    let body_bytes = body.total_len();
    let mut wire = Vec::with_capacity(body_bytes + 512);
    let mut line = |text: String| wire.extend_from_slice(text.as_bytes());
    line(format!("POST {path} HTTP/1.1\r\nhost: {}\r\n", target.address));
    line(format!("user-agent: {}\r\ncontent-length: {body_bytes}\r\n", USER_AGENT));
    match body.header_length {
        Some(length) => line(format!(
            "content-type: application/octet-stream\r\ninference-header-content-length: {length}\r\n"
        )),
        None => line("content-type: application/json\r\n".to_owned()),
    }
    append_headers(headers, &mut wire);
    wire.extend_from_slice(b"\r\n");
    for chunk in &body.chunks {
        wire.extend_from_slice(chunk);
    }
    wire.into()
}

/// A request without a body.
pub(crate) fn get_request(target: &Target, path: &str, headers: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    without_body(target, &format!("GET {path} HTTP/1.1"), headers)
}

/// A request that does something, with an empty body.
pub(crate) fn empty_post(target: &Target, path: &str, headers: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    without_body(target, &format!("POST {path} HTTP/1.1\r\ncontent-length: 0"), headers)
}

fn without_body(target: &Target, first: &str, headers: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let mut wire = format!(
        "{first}\r\nhost: {}\r\nuser-agent: {}\r\naccept: application/json\r\n",
        target.address, USER_AGENT
    )
    .into_bytes();
    append_headers(headers, &mut wire);
    wire.extend_from_slice(b"\r\n");
    wire
}

fn append_headers(headers: &[(HeaderName, HeaderValue)], wire: &mut Vec<u8>) {
    for (name, value) in headers {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
}

/// The headers as gRPC metadata.
pub(crate) fn metadata_headers(headers: &[(HeaderName, HeaderValue)]) -> HeaderMap {
    headers.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use adulis_tensor::{DataType, Shape, Tensor};
    use adulis_types::InputTensor;

    use super::*;

    fn request() -> InferRequest {
        let mut request = InferRequest::new(ModelRef { name: "a model/ü".into(), version: Some(3) });
        let data = Bytes::from_static(&[1, 2, 3, 4]);
        request.inputs.push(InputTensor {
            name: "X".into(),
            tensor: Tensor::new(DataType::Uint8, Shape::from([4]), data).unwrap(),
        });
        request
    }

    fn text(url: &str, protocol: Protocol, raw: Option<&str>) -> String {
        let target = Target::parse(url, Some(protocol)).unwrap();
        let headers = [("x-key".parse().unwrap(), "secret".parse().unwrap())];
        let wire = serialise(&target, &[request()], &headers, raw).unwrap();
        String::from_utf8_lossy(&wire[0]).into_owned()
    }

    #[test]
    fn rest_requests_have_a_whole_head() {
        let binary = text("http://h/base", Protocol::RestBinary, None);
        let (head, body) = binary.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with(
                "POST /base/v2/models/a%20model%2F%C3%BC/versions/3/infer HTTP/1.1\r\nhost: h:8000\r\n"
            ),
            "{head}"
        );
        assert!(head.contains("\r\nx-key: secret"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
        let header_length = body.len() - 4;
        assert!(head.contains(&format!("\r\ninference-header-content-length: {header_length}")), "{head}");
        assert_eq!(&body[header_length..], "\x01\x02\x03\x04");
        let json = text("http://h", Protocol::RestJson, Some("/echo"));
        assert!(json.starts_with("POST /echo HTTP/1.1\r\n"), "{json}");
        assert!(!json.contains("inference-header") && json.contains("[1,2,3,4]"), "{json}");
    }

    #[test]
    fn grpc_requests_decode_again() {
        let target = Target::parse("grpc://h", None).unwrap();
        let wire = serialise(&target, &[request()], &[], None).unwrap();
        let message = adulis_protocol::grpc::ModelInferRequest::decode(&wire[0][5..]).unwrap();
        assert_eq!(message.model_name, "a model/ü");
        assert_eq!(message.model_version, "3");
        assert_eq!(&message.raw_input_contents[0][..], &[1, 2, 3, 4]);
    }
}
