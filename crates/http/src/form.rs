//! The forms that the bodies of inferences come and go in, by their media types.

use adulis_protocol::rest::{self, OutputFormat, RestRequest};
use adulis_protocol::{EncodeError, flatbuffers, grpc};
use adulis_types::{InferRequest, InferResponse, InferenceService, ModelRef};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use crate::boundary::JSON;
use crate::error::{HttpError, Refusal};
use crate::exchange::{Answer, HEADER_LENGTH, length_header};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const FLATBUFFERS: HeaderValue = HeaderValue::from_static("application/x-flatbuffers");

/// How an inference is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// JSON, with or without binary tensors behind it.
    Json,
    /// A message of Protocol Buffers, as over gRPC.
    Protobuf,
    /// A buffer of `proto/infer.fbs`.
    FlatBuffers,
}

impl Form {
    fn of_media_type(essence: &str) -> Option<Self> {
        /// As lenient as Triton, which does not look: clients without a content type, and curl's own
        /// `application/x-www-form-urlencoded`, are served.
        const FORMS: [(&str, Form); 8] = [
            ("application/json", Form::Json),
            ("application/octet-stream", Form::Json),
            ("application/x-protobuf", Form::Protobuf),
            ("application/protobuf", Form::Protobuf),
            ("application/x-flatbuffers", Form::FlatBuffers),
            ("application/flatbuffers", Form::FlatBuffers),
            ("text/plain", Form::Json),
            ("application/x-www-form-urlencoded", Form::Json),
        ];
        let known = FORMS.iter().find(|(name, _)| essence.eq_ignore_ascii_case(name));
        match known {
            Some((_, form)) => Some(*form),
            None if essence.is_empty() || essence.to_ascii_lowercase().ends_with("+json") => Some(Form::Json),
            None => None,
        }
    }
}

/// The form of a request's body, and the one that its answer is wanted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forms {
    body: Form,
    answer: Form,
}

impl Forms {
    /// By `Content-Type` and `Accept`. An answer has the form of its request, unless `Accept` names another.
    ///
    /// # Errors
    /// [`HttpError::ContentType`] for what cannot be an inference.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, HttpError> {
        let body = body_form(headers)?;
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        Ok(Self { body, answer: accept.map_or(body, |accept| wished(accept, body)) })
    }

    /// Whether the body is JSON, with or without binary tensors behind it.
    pub(crate) fn is_json(self) -> bool {
        self.body == Form::Json
    }

    /// Where the binary section of the body begins, if it has one.
    ///
    /// # Errors
    /// [`HttpError::Header`] for a length that is none.
    pub(crate) fn header_length(self, headers: &HeaderMap) -> Result<Option<usize>, HttpError> {
        match self.body {
            Form::Json => length_header(headers, &HEADER_LENGTH),
            // They begin where the body does.
            Form::Protobuf | Form::FlatBuffers => Ok(None),
        }
    }

    /// Decodes a body, and says how its answer is to be encoded. `service` is asked where the model says what a body without
    /// a JSON object is.
    ///
    /// # Errors
    /// [`DecodeError`](adulis_protocol::DecodeError) for a body that is wrong, and what the service says of the model.
    pub(crate) fn decode(
        self,
        service: &dyn InferenceService,
        model: ModelRef,
        body: Bytes,
        header_length: Option<usize>,
    ) -> Result<(InferRequest, AnswerForm), Refusal> {
        let RestRequest { request, format } = match self.body {
            Form::Json if header_length == Some(0) => {
                let metadata = service.model_metadata(&model)?;
                rest::decode_raw(model, &metadata, body)?
            }
            Form::Json => rest::decode_infer(model, body, header_length)?,
            Form::Protobuf => grpc::decode_body(model, body)?,
            Form::FlatBuffers => flatbuffers::decode_infer(model, &body)?,
        };
        let answer = match self.answer {
            Form::Json => AnswerForm::Json(format),
            Form::Protobuf => AnswerForm::Protobuf,
            Form::FlatBuffers => AnswerForm::FlatBuffers,
        };
        Ok((request, answer))
    }
}

/// How an answer is encoded.
pub(crate) enum AnswerForm {
    /// JSON, with the outputs in it or behind it.
    Json(OutputFormat),
    /// A message of Protocol Buffers.
    Protobuf,
    /// A buffer of `proto/infer.fbs`.
    FlatBuffers,
}

impl AnswerForm {
    /// Encodes an answer.
    ///
    /// # Errors
    /// [`EncodeError`] where an output has no such form.
    pub(crate) fn encode(&self, response: InferResponse) -> Result<Answer, EncodeError> {
        let (content_type, chunks) = match self {
            AnswerForm::Json(format) => {
                let body = rest::encode_infer(response, format)?;
                let content_type = if body.header_length.is_some() { OCTETS } else { JSON };
                return Ok(Answer { content_type, header_length: body.header_length, chunks: body.chunks });
            }
            AnswerForm::Protobuf => (PROTOBUF, grpc::encode_body(response)),
            AnswerForm::FlatBuffers => (FLATBUFFERS, flatbuffers::encode_infer(response)?),
        };
        Ok(Answer { content_type, header_length: None, chunks })
    }
}

/// Refuses a body that is said to be anything but JSON.
///
/// # Errors
/// [`HttpError::NotJson`].
pub(crate) fn check_json(headers: &HeaderMap) -> Result<(), HttpError> {
    match body_form(headers) {
        Ok(Form::Json) => Ok(()),
        _ => Err(HttpError::NotJson { given: content_type(headers) }),
    }
}

fn body_form(headers: &HeaderMap) -> Result<Form, HttpError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Form::Json);
    };
    let form = Form::of_media_type(essence(value.to_str().unwrap_or("?")));
    form.ok_or_else(|| HttpError::ContentType { given: content_type(headers) })
}

/// The content type for a message.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    String::from_utf8_lossy(value).into_owned()
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or("").trim()
}

/// The value of a parameter of a media type.
pub(crate) fn parameter_of<'a>(media_type: &'a str, name: &str) -> Option<&'a str> {
    media_type.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The form that `Accept` likes best, the first of equals; the request's own where it names none that there is.
fn wished(accept: &str, own: Form) -> Form {
    let weighted = accept.split(',').filter_map(|item| {
        let form = match essence(item) {
            "*/*" | "application/*" => own,
            // Says nothing about which of the forms, and must not turn one into another.
            name if !["json", "protobuf", "flatbuffers"].iter().any(|form| name.contains(form)) => {
                return None;
            }
            name => Form::of_media_type(name)?,
        };
        let weight: f32 = parameter_of(item, "q").map_or(Ok(1.0), str::parse).ok()?;
        (weight > 0.0).then_some((form, weight))
    });
    // The first of equals: strictly greater replaces.
    weighted
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map_or(own, |(form, _)| form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(content_type: &str, accept: Option<&str>) -> Option<(Form, Form)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        if let Some(accept) = accept {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        Forms::of(&headers).ok().map(|forms| (forms.body, forms.answer))
    }

    #[test]
    fn media_types_tell_the_form_of_a_body() {
        for (content_type, form) in [
            ("application/json; charset=utf-8", Form::Json),
            ("Application/JSON", Form::Json),
            ("application/problem+json", Form::Json),
            ("", Form::Json),
            ("application/x-protobuf", Form::Protobuf),
            ("application/protobuf; proto=inference.ModelInferRequest", Form::Protobuf),
            ("application/x-flatbuffers", Form::FlatBuffers),
        ] {
            assert_eq!(forms(content_type, None), Some((form, form)), "{content_type}");
        }
        for refused in ["text/html", "application/x-protobuf2", "image/png"] {
            assert_eq!(forms(refused, None), None, "{refused}");
        }
    }

    #[test]
    fn accept_tells_the_form_of_the_answer() {
        for (accept, form) in [
            ("*/*", Form::Protobuf),
            ("text/html", Form::Protobuf),
            ("application/octet-stream", Form::Protobuf),
            ("application/json", Form::Json),
            ("application/json, text/plain, */*", Form::Json),
            ("application/json;q=0.5, */*;q=0.1", Form::Json),
            ("application/json;q=0.5, application/x-protobuf", Form::Protobuf),
            ("application/json;q=0, */*", Form::Protobuf),
            ("application/json;q=often", Form::Protobuf),
        ] {
            let found = forms("application/protobuf", Some(accept));
            assert_eq!(found, Some((Form::Protobuf, form)), "{accept}");
        }
        let found = forms("application/json", Some("application/x-flatbuffers"));
        assert_eq!(found, Some((Form::Json, Form::FlatBuffers)));
    }
}
