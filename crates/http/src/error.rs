use std::borrow::Cow;
use std::time::Duration;

use adulis_protocol::status::http_status;
use adulis_protocol::{DecodeError, EncodeError};
use adulis_types::{BudgetSpent, ErrorKind, Fault, Retry, ServiceError};
use http::StatusCode;

/// What the REST frontend itself refuses, or fails at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no such route: {path}")]
    NoRoute { path: String },
    #[error("method {method} is not allowed here")]
    Method { method: http::Method },
    #[error(
        "content type '{given}' is not supported: send application/json, application/octet-stream, application/x-protobuf or application/x-flatbuffers"
    )]
    ContentType { given: String },
    #[error("content type '{given}' is not supported here: send application/json")]
    NotJson { given: String },
    #[error("content encoding '{given}' is not supported: send gzip, deflate or none")]
    ContentEncoding { given: String },
    #[error("the request body is over the limit of {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the {coding} request body is over the limit of {limit} bytes when decompressed")]
    Inflated { coding: &'static str, limit: usize },
    #[error(transparent)]
    Budget(#[from] BudgetSpent),
    #[error("the request body did not arrive within {waited:?}")]
    BodyTimeout { waited: Duration },
    #[error("the request body arrives too slowly: at least {least} bytes per second are wanted")]
    BodySlow { least: usize },
    #[error("the request body could not be read")]
    BodyBroken { source: axum::Error },
    #[error("the request body is {actual} bytes, its content-length says {declared}")]
    BodyLength { declared: usize, actual: usize },
    #[error("the request body is not valid {coding}")]
    Compressed { coding: &'static str, source: std::io::Error },
    #[error("header {name} is '{given}': expected {expected}")]
    Header { name: &'static str, given: String, expected: &'static str },
    #[error("the path is not valid UTF-8 when percent-decoded")]
    Path,
    #[error("model '{model}' did not answer within {waited:?}")]
    Deadline { model: adulis_types::Name, waited: Duration },
    #[error(
        "model '{model}': generate expects model to produce exactly 1 response, use generate stream for model that generates various number of responses"
    )]
    Answers { model: adulis_types::Name },
    #[error("model '{model}' is not ready")]
    ModelNotReady { model: adulis_types::Name },
    #[error("which of {count} models is meant? set {setting}")]
    WhichModel { count: usize, setting: &'static str },
    #[error("server is not {state}")]
    ServerNot { state: &'static str },
    #[error("no I/O thread of this server had a hand free within {within:?}")]
    Unresponsive { within: Duration },
    #[error("compressing the response failed")]
    Compression { source: std::io::Error },
    #[error("a handler panicked: {message}")]
    Panicked { message: String },
    #[error("a worker thread went away")]
    Worker { source: tokio::task::JoinError },
}

impl HttpError {
    /// The statuses that only HTTP tells apart; all others come from the table.
    fn status(&self) -> Option<StatusCode> {
        match self {
            HttpError::Method { .. } => Some(StatusCode::METHOD_NOT_ALLOWED),
            HttpError::ContentType { .. } | HttpError::NotJson { .. } | HttpError::ContentEncoding { .. } => {
                Some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            HttpError::BodyTimeout { .. } | HttpError::BodySlow { .. } => Some(StatusCode::REQUEST_TIMEOUT),
            _ => None,
        }
    }
}

impl ServiceError for HttpError {
    fn kind(&self) -> ErrorKind {
        match self {
            HttpError::NoRoute { .. } => ErrorKind::NotFound,
            HttpError::Budget(spent) => spent.kind(),
            HttpError::TooLarge { .. } | HttpError::Inflated { .. } => ErrorKind::TooLarge,
            HttpError::BodyTimeout { .. } | HttpError::BodySlow { .. } | HttpError::Deadline { .. } => {
                ErrorKind::DeadlineExceeded
            }
            HttpError::ModelNotReady { .. }
            | HttpError::ServerNot { .. }
            | HttpError::Unresponsive { .. } => ErrorKind::Unavailable,
            HttpError::Compression { .. } | HttpError::Panicked { .. } | HttpError::Worker { .. } => {
                ErrorKind::Internal
            }
            HttpError::Method { .. }
            | HttpError::ContentType { .. }
            | HttpError::NotJson { .. }
            | HttpError::ContentEncoding { .. }
            | HttpError::BodyBroken { .. }
            | HttpError::BodyLength { .. }
            | HttpError::Compressed { .. }
            | HttpError::Header { .. }
            | HttpError::WhichModel { .. }
            | HttpError::Answers { .. }
            | HttpError::Path => ErrorKind::InvalidArgument,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            HttpError::Budget(spent) => spent.retry(),
            HttpError::ModelNotReady { .. }
            | HttpError::ServerNot { .. }
            | HttpError::Unresponsive { .. } => Retry::Anywhere,
            _ => Retry::Never,
        }
    }

    fn client_message(&self) -> Cow<'static, str> {
        match self.kind() {
            ErrorKind::Internal => Cow::Borrowed("internal error"),
            _ => Cow::Owned(self.to_string()),
        }
    }
}

/// Any error on its way to the boundary, with its status decided.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) fault: Fault,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let status =
            StatusCode::from_u16(http_status(fault.kind())).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, fault }
    }
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Self {
        let own = error.status();
        let mut refusal = Self::from(Fault::from(error));
        if let Some(status) = own {
            refusal.status = status;
        }
        refusal
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Fault::from(error).into()
    }
}

impl From<EncodeError> for Refusal {
    fn from(error: EncodeError) -> Self {
        Fault::from(error).into()
    }
}
