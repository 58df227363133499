use std::borrow::Cow;
use std::time::Duration;

use adulis_types::{ErrorKind, Retry, ServiceError};

/// How long a client is asked to wait where it could not be found out who it is.
const RETRY: Duration = Duration::from_secs(1);

/// Why it is not known who sends a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A header of credentials is there more than once.
    #[error("header '{header}' is there more than once: which one counts cannot be said")]
    Repeated {
        /// The header.
        header: String,
    },
    /// A header of credentials holds something else.
    #[error("header '{header}' holds no credentials: send 'authorization: Bearer KEY' or 'x-api-key: KEY'")]
    Malformed {
        /// The header.
        header: String,
    },
    /// No identity has these credentials.
    #[error("the credentials are not valid")]
    Unknown,
    /// They were taken back.
    #[error("the key has been revoked")]
    Revoked,
    /// Their time is over.
    #[error("the credentials have expired")]
    Expired,
    /// A token is not taken.
    #[error("the token is not valid: {reason}")]
    Token {
        /// Why.
        reason: &'static str,
    },
    /// The certificate of the connection names nobody who is known.
    #[error("the client's certificate names no identity that is known here")]
    Certificate,
    /// It could not be found out.
    #[error("the credentials cannot be checked at the moment")]
    Unavailable,
}

impl AuthError {
    /// Its name, as metrics have it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Repeated { .. } | Self::Malformed { .. } => "malformed",
            Self::Unknown | Self::Certificate => "unknown",
            Self::Token { .. } => "invalid",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Unavailable => "unavailable",
        }
    }
}

impl ServiceError for AuthError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable => ErrorKind::Unavailable,
            Self::Repeated { .. }
            | Self::Malformed { .. }
            | Self::Unknown
            | Self::Revoked
            | Self::Expired
            | Self::Token { .. }
            | Self::Certificate => ErrorKind::Unauthenticated,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Unavailable => Retry::After(RETRY),
            _ => Retry::Never,
        }
    }

    fn client_message(&self) -> Cow<'static, str> {
        Cow::Owned(self.to_string())
    }
}

/// Why identities cannot be found out in the way that was set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthSetupError {
    /// The keys that tokens are verified with cannot be read, or not be fetched in this way.
    #[error("the key set for tokens: {0}")]
    KeySet(String),
}
