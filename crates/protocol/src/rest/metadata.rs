use std::borrow::Cow;

use adulis_types::{ModelMetadata, ServerMetadata, TensorMetadata};
use bytes::Bytes;

use crate::rest::writer;

/// The body of an error: `{"error": …}`.
#[must_use]
pub fn error_body(message: &str) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 16);
    writer::key(&mut out, "{", "error");
    writer::string(&mut out, message);
    out.push(b'}');
    out.into()
}

/// The body of `GET /v2/health/ready` where the server is ready: `{"ready":true}`, and what the server talks to, each with why
/// it is of no use at the moment, if it is not.
#[must_use]
pub fn readiness<'a>(dependencies: impl IntoIterator<Item = (&'a str, Option<Cow<'a, str>>)>) -> Bytes {
    let mut out = Vec::new();
    out.extend_from_slice(br#"{"ready":true"#);
    let mut before = r#","dependencies":{"#;
    for (name, problem) in dependencies {
        writer::key(&mut out, before, name);
        writer::key(&mut out, "{", "up");
        out.extend_from_slice(if problem.is_some() { b"false" } else { b"true" });
        if let Some(problem) = problem {
            writer::key(&mut out, ",", "reason");
            writer::string(&mut out, &problem);
        }
        out.push(b'}');
        before = ",";
    }
    out.extend_from_slice(if before == "," { b"}}" } else { b"}" });
    out.into()
}

/// The answer to `GET /v2`.
#[must_use]
pub fn server_metadata(metadata: &ServerMetadata) -> Bytes {
    let mut out = Vec::new();
    writer::key(&mut out, "{", "name");
    writer::string(&mut out, &metadata.name);
    writer::key(&mut out, ",", "version");
    writer::string(&mut out, &metadata.version);
    writer::key(&mut out, ",", "extensions");
    writer::list(&mut out, &metadata.extensions, |out, name| {
        writer::string(out, name);
    });
    out.push(b'}');
    out.into()
}

/// The answer to `GET /v2/models/{model}`. Versions are strings, as the protocol has them.
#[must_use]
pub fn model_metadata(metadata: &ModelMetadata) -> Bytes {
    let mut out = Vec::new();
    writer::key(&mut out, "{", "name");
    writer::string(&mut out, &metadata.name);
    writer::key(&mut out, ",", "versions");
    writer::list(&mut out, &metadata.versions, |out, version| {
        writer::string(out, itoa::Buffer::new().format(*version));
    });
    writer::key(&mut out, ",", "platform");
    writer::string(&mut out, &metadata.platform);
    tensors(&mut out, "inputs", &metadata.inputs);
    tensors(&mut out, "outputs", &metadata.outputs);
    out.push(b'}');
    out.into()
}

fn tensors(out: &mut Vec<u8>, key: &str, tensors: &[TensorMetadata]) {
    writer::key(out, ",", key);
    writer::list(out, tensors, |out, tensor| {
        writer::key(out, "{", "name");
        writer::string(out, &tensor.name);
        writer::key(out, ",", "datatype");
        writer::string(out, tensor.datatype.as_str());
        writer::key(out, ",", "shape");
        writer::list(out, tensor.shape.iter(), |out, &extent| {
            writer::integer(out, extent);
        });
        out.push(b'}');
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_tells_what_the_server_talks_to() {
        assert_eq!(readiness([]), r#"{"ready":true}"#);
        let told = readiness([("store", Some("\"db\" is down".into())), ("redis", None)]);
        let expected = r#"{"ready":true,"dependencies":{"store":{"up":false,"reason":"\"db\" is down"},"redis":{"up":true}}}"#;
        assert_eq!(told, expected);
    }
}
