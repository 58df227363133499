use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::QuotaReport;

/// What went wrong, in the terms that both protocols share. `adulis-protocol` maps each kind to its HTTP status
/// and gRPC code, in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The request is wrong, and will be wrong again.
    InvalidArgument,
    /// No such model, version or route.
    NotFound,
    /// What was to be made is there already.
    AlreadyExists,
    /// Who is asking is not known.
    Unauthenticated,
    /// Who is asking may not.
    PermissionDenied,
    /// The body or message is over a limit.
    TooLarge,
    /// The caller's own rate or quota is used up.
    RateLimited,
    /// The server has no room: a queue is full, or it is draining.
    Overloaded,
    /// The model exists and is not ready to answer.
    Unavailable,
    /// The answer would have come, or did come, too late.
    DeadlineExceeded,
    /// The caller went away.
    Cancelled,
    /// The request is well-formed and asks for what this server or model does not do.
    Unsupported,
    /// A fault of the server or the model.
    Internal,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [ErrorKind; 13] = [
        ErrorKind::InvalidArgument,
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::Unauthenticated,
        ErrorKind::PermissionDenied,
        ErrorKind::TooLarge,
        ErrorKind::RateLimited,
        ErrorKind::Overloaded,
        ErrorKind::Unavailable,
        ErrorKind::DeadlineExceeded,
        ErrorKind::Cancelled,
        ErrorKind::Unsupported,
        ErrorKind::Internal,
    ];

    /// The kind's name as metrics and logs carry it, such as `invalid_argument`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::NotFound => "not_found",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::PermissionDenied => "permission_denied",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::DeadlineExceeded => "deadline_exceeded",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Internal => "internal",
        }
    }
}

/// Whether the same request may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// It would fail again.
    #[default]
    Never,
    /// It was not executed: try again, elsewhere or later.
    Anywhere,
    /// Not before this time has passed. Sent as `Retry-After`, rounded up to whole seconds.
    After(Duration),
}

/// An error that can be answered to a client: typed where it arises, turned into a response at one boundary.
pub trait ServiceError: std::error::Error + Send + Sync + 'static {
    /// The kind, which decides the status.
    fn kind(&self) -> ErrorKind;

    /// Whether trying again makes sense.
    fn retry(&self) -> Retry {
        Retry::Never
    }

    /// How the limits of whoever asks stand, where one of them is why.
    fn quota(&self) -> Option<&QuotaReport> {
        None
    }

    /// What the client is told: names the model and the input, and no internals.
    fn client_message(&self) -> Cow<'static, str>;
}

/// Any [`ServiceError`], owned. The error of [`crate::InferenceService`].
pub struct Fault(Box<dyn ServiceError>);

impl Fault {
    /// The error itself.
    #[must_use]
    pub fn error(&self) -> &dyn ServiceError {
        &*self.0
    }
}

impl std::ops::Deref for Fault {
    type Target = dyn ServiceError;

    fn deref(&self) -> &(dyn ServiceError + 'static) {
        &*self.0
    }
}

impl<E: ServiceError> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A plain [`ServiceError`] for services outside the engine: a kind and one message for client and log alike.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind.
    pub kind: ErrorKind,
    /// Whether trying again makes sense.
    pub retry: Retry,
    /// What the client is told.
    pub message: Cow<'static, str>,
}

impl Failure {
    /// A failure that will happen again.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, retry: Retry::Never, message: message.into() }
    }
}

impl ServiceError for Failure {
    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn retry(&self) -> Retry {
        self.retry
    }

    fn client_message(&self) -> Cow<'static, str> {
        self.message.clone()
    }
}
