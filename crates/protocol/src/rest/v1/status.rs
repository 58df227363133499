use adulis_types::ModelRef;
use bytes::Bytes;

use crate::rest::writer;

/// The answer to `GET /v1/models`: the models' names.
#[must_use]
pub fn model_list<'a>(names: impl IntoIterator<Item = &'a str>) -> Bytes {
    let mut out = Vec::new();
    writer::key(&mut out, "{", "models");
    writer::list(&mut out, names, writer::string);
    out.push(b'}');
    out.into()
}

/// The answer to `GET /v1/models/{model}` for a model that is ready, with the versions that are: as KServe has it, and as
/// TensorFlow Serving has it, in one object.
#[must_use]
pub fn model_status(model: &ModelRef, versions: &[u64]) -> Bytes {
    let mut out = Vec::new();
    writer::key(&mut out, "{", "name");
    writer::string(&mut out, &model.name);
    out.extend_from_slice(br#","ready":true"#);
    writer::key(&mut out, ",", "model_version_status");
    let asked = versions.iter().filter(|&&version| model.version.is_none_or(|asked| asked == version));
    writer::list(&mut out, asked, |out, &version| {
        writer::key(out, "{", "version");
        out.push(b'"');
        writer::integer(out, version);
        out.extend_from_slice(br#"","state":"AVAILABLE","status":{"error_code":"OK","error_message":""}}"#);
    });
    out.push(b'}');
    out.into()
}
