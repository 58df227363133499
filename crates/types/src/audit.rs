use crate::{Identity, RequestId};

/// Where it is noted who changed what.
pub trait AuditLog: Send + Sync + 'static {
    /// Notes an event. Must not wait for a disk or network.
    fn record(&self, event: &AuditEvent<'_>);
}

/// A change of the server, or an attempt at one.
#[derive(Debug, Clone, Copy)]
pub struct AuditEvent<'a> {
    /// What was to be done, such as `model_load`.
    pub operation: &'static str,
    /// By whom; `None` where nobody was asked who they are, or it is not known.
    pub identity: Option<&'a Identity>,
    /// To what: a model, a key. `None` for the server as a whole.
    pub target: Option<&'a str>,
    /// In which way. Never a secret.
    pub detail: Option<&'a str>,
    /// What the request is called in the log; `None` for what no request asked for.
    pub request_id: Option<&'a RequestId>,
    /// What became of it.
    pub outcome: AuditOutcome,
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
