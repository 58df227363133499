//! What the cloud platforms that host a server have in common: one model that is meant where none is named, and binary
//! tensors behind a media type of their own.

use std::sync::Arc;

use adulis_protocol::rest::v1;
use adulis_types::{Entered, IndexQuery, ModelRef, Name};
use axum::body::Body;
use axum::extract::FromRef;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

use crate::beside::Beside;
use crate::error::{HttpError, Refusal};
use crate::exchange::{Answer, Exchange};
use crate::form::{Forms, parameter_of};
use crate::repository::shown;
use crate::rest::Rest;

/// The parameter of the platforms' media types that says where the JSON ends and binary tensors begin: they do not pass
/// the header on that says so elsewhere.
const HEADER_SIZE: &str = "json-header-size";

/// What a platform's routes share. Those that are the server's own, under another path, see the part that is its own.
pub(crate) struct Hosted<P> {
    pub(crate) rest: Arc<Rest>,
    pub(crate) platform: Arc<P>,
}

impl<P> Hosted<P> {
    pub(crate) fn new(rest: Rest, platform: P) -> Self {
        Self { rest: Arc::new(rest), platform: Arc::new(platform) }
    }
}

impl<P> Clone for Hosted<P> {
    fn clone(&self) -> Self {
        Self { rest: Arc::clone(&self.rest), platform: Arc::clone(&self.platform) }
    }
}

impl<P> FromRef<Hosted<P>> for Arc<Rest> {
    fn from_ref(hosted: &Hosted<P>) -> Self {
        Arc::clone(&hosted.rest)
    }
}

/// A platform, in its own words.
pub(crate) struct Platform {
    /// The media type of JSON with binary tensors behind it.
    pub(crate) binary: &'static str,
    /// The setting that names the model.
    pub(crate) setting: &'static str,
}

impl Platform {
    /// The model that is meant: the one that was asked for, or the one that is set, or the only one that whoever asks may name.
    ///
    /// # Errors
    /// [`HttpError::WhichModel`] where there are several, or none; that whoever asks may not use it.
    pub(crate) async fn model(
        &self,
        entered: &Entered<'_>,
        asked: Option<Name>,
        set: Option<&Name>,
    ) -> Result<ModelRef, Refusal> {
        if let Some(name) = asked.or_else(|| set.cloned()) {
            entered.model(&name)?;
            return Ok(ModelRef::latest(name));
        }
        let index = shown(entered, IndexQuery::default()).await.unwrap_or_default();
        let mut names: Vec<&str> = index.iter().map(|entry| &*entry.name).collect();
        // By name, and one entry for each version.
        names.dedup();
        match names[..] {
            [only] => Ok(ModelRef::latest(only)),
            _ => Err(HttpError::WhichModel { count: names.len(), setting: self.setting }.into()),
        }
    }

    /// Answers an inference in any form, or a V1 request, of `model`.
    ///
    /// # Errors
    /// As the routes of those protocols.
    pub(crate) async fn infer(
        &self,
        exchange: Exchange<'_>,
        model: ModelRef,
        (headers, body): (&HeaderMap, Body),
    ) -> Result<Response, Refusal> {
        let forms = Forms::of(headers)?;
        let header_length = match header_size(headers)? {
            Some(length) => Some(length),
            None => forms.header_length(headers)?,
        };
        let body = exchange.read(headers, body, header_length).await?;
        if forms.is_json() && header_length.is_none() && v1::is_predict(&body) {
            return crate::v1::ask(&exchange, model, body).await;
        }
        let (request, form) = forms.decode(exchange.service(), model, body, header_length)?;
        let mut response = exchange.ask(request).await?;
        let beside = Beside::take(&mut response);
        let answer = form.encode(response)?;
        exchange.respond(self.own_type(answer), beside).await
    }

    /// An answer whose media type says where its binary tensors begin.
    fn own_type(&self, answer: Answer) -> Answer {
        let Some(length) = answer.header_length else {
            return answer;
        };
        match HeaderValue::try_from(format!("{};{HEADER_SIZE}={length}", self.binary)) {
            Ok(content_type) => Answer { content_type, header_length: None, ..answer },
            Err(_) => answer,
        }
    }
}

/// Where the binary section begins, as the content type says.
fn header_size(headers: &HeaderMap) -> Result<Option<usize>, HttpError> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some(text) = parameter_of(value, HEADER_SIZE) else {
        return Ok(None);
    };
    // `parse` alone would take a leading plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(length) if digits => Ok(Some(length)),
        _ => Err(HttpError::Header {
            name: "content-type",
            given: value.to_owned(),
            expected: "a length in bytes as its json-header-size",
        }),
    }
}
