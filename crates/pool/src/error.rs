use std::sync::Arc;
use std::time::Duration;

/// Why an operation on a backend failed. Cheap to clone: those who wait for one connection share one error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each field is what the message calls it")]
pub enum PoolError {
    /// The breaker is open: it was not tried.
    #[error("{backend} is down and not asked")]
    Open { backend: Arc<str> },
    /// Every connection is in use, and stayed so.
    #[error("{backend} had no free connection within {limit:?}")]
    Busy { backend: Arc<str>, limit: Duration },
    /// It took too long, all in all.
    #[error("{backend} did not answer within {limit:?}")]
    Timeout { backend: Arc<str>, limit: Duration },
    /// No connection could be opened.
    #[error("{backend} cannot be reached: {reason}")]
    Connect { backend: Arc<str>, reason: String },
    /// The connection broke.
    #[error("the connection to {backend} broke: {reason}")]
    Broken { backend: Arc<str>, reason: String },
    /// It answered that it can't serve anybody: it is loading, its cluster is down, the password is wrong.
    #[error("{backend} refuses: {reason}")]
    Refused { backend: Arc<str>, reason: String },
    /// It answered this one operation with an error.
    #[error("{backend} answered with an error: {reason}")]
    Answer { backend: Arc<str>, reason: String },
    /// It holds something else under a key than what was asked for.
    #[error("{backend} holds something else than what was asked for: {reason}")]
    WrongType { backend: Arc<str>, reason: String },
    /// It does not have, or not any more, the script that was named.
    #[error("{backend} does not have this script")]
    NoScript { backend: Arc<str> },
    /// A key or value that the backend does not take, which was not sent.
    #[error("{backend} does not take {what} of {actual} bytes: the limit is {limit}")]
    TooLarge { backend: Arc<str>, what: &'static str, actual: usize, limit: usize },
    /// The address or a setting is at fault.
    #[error("{0}")]
    Setting(String),
}

impl PoolError {
    /// Whether it says that the backend as a whole is not well. A pool that is busy says nothing of that: the operations that
    /// keep it busy will.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Connect { .. } | Self::Broken { .. } | Self::Refused { .. } => true,
            Self::Open { .. }
            | Self::Busy { .. }
            | Self::Answer { .. }
            | Self::WrongType { .. }
            | Self::NoScript { .. }
            | Self::TooLarge { .. }
            | Self::Setting(_) => false,
        }
    }

    /// Whether the connection it came over can't be used again.
    pub(crate) fn breaks_connection(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Broken { .. } | Self::Refused { .. })
    }
}
