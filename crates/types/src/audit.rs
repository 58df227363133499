use std::fmt;

use crate::{Identity, RequestId};

/// Where it is noted who changed what.
pub trait AuditLog: Send + Sync + 'static {
    /// Notes an event. Must not wait for a disk or network.
    fn record(&self, event: &AuditEvent<'_>);
}

impl fmt::Debug for dyn AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditLog")
    }
}

/// Who made a change, or tried to.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// Nobody was asked who they are, or it is not known.
    Unknown,
    /// A client.
    Client(&'a Identity),
    /// The server itself: files that it watches have changed, or a signal came.
    Server,
}

impl<'a> From<Option<&'a Identity>> for Actor<'a> {
    fn from(identity: Option<&'a Identity>) -> Self {
        identity.map_or(Self::Unknown, Self::Client)
    }
}

/// A change of the server, or an attempt at one.
#[derive(Debug, Clone, Copy)]
pub struct AuditEvent<'a> {
    /// What was to be done, such as `model_load`.
    pub operation: &'static str,
    /// By whom.
    pub actor: Actor<'a>,
    /// To what: a model, a key. `None` for the server as a whole.
    pub target: Option<&'a str>,
    /// In which way. Never a secret.
    pub detail: Option<&'a str>,
    /// What the request is called in the log; `None` for what no request asked for.
    pub request_id: Option<&'a RequestId>,
    /// What became of it.
    pub outcome: AuditOutcome,
}

impl<'a> AuditEvent<'a> {
    /// What the server did by itself.
    #[must_use]
    pub fn of_server(operation: &'static str, outcome: AuditOutcome) -> Self {
        Self {
            operation,
            actor: Actor::Server,
            target: None,
            detail: None,
            request_id: None,
            outcome,
        }
    }

    /// The same, done to something.
    #[must_use]
    pub fn to(self, target: &'a str) -> Self {
        Self { target: Some(target), ..self }
    }

    /// The same, with a word on how.
    #[must_use]
    pub fn with(self, detail: &'a str) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditOutcome {
    /// It was made.
    Done,
    /// It was not: it was wrong, it failed, or its client went away before it was known.
    Failed,
    /// It was not permitted.
    Refused,
}

impl AuditOutcome {
    /// What became of a change that was tried.
    #[must_use]
    pub const fn of<T, E>(tried: &Result<T, E>) -> Self {
        match tried {
            Ok(_) => Self::Done,
            Err(_) => Self::Failed,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}
