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
