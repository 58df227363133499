use std::borrow::Cow;
use std::time::Duration;

use adulis_types::{ErrorKind, Name, Retry, ServiceError};

use super::source::SourceError;

/// Why a request could not be given the inputs that are looked up.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The request does not fit.
    #[error("model '{model}': input '{input}': {reason}")]
    Input {
        /// The model.
        model: Name,
        /// The input.
        input: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No row or hash has this id.
    #[error("model '{model}': input '{input}': nothing is known of {id}")]
    Missing {
        /// The model.
        model: Name,
        /// The key.
        input: String,
        /// The id.
        id: String,
    },
    /// The model's configuration, or what it names, is at fault.
    #[error("model '{model}': its lookup cannot be done: {reason}")]
    Configuration {
        /// The model.
        model: Name,
        /// What is wrong.
        reason: String,
    },
    /// The source could not be asked.
    #[error("model '{model}': input '{input}' cannot be looked up now")]
    Source {
        /// The model.
        model: Name,
        /// The key.
        input: String,
        /// Why.
        source: SourceError,
    },
    /// It took longer than the client waits.
    #[error("model '{model}': input '{input}': the deadline passed before it was looked up")]
    Deadline {
        /// The model.
        model: Name,
        /// The key.
        input: String,
    },
}

impl ServiceError for LookupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Input { .. } => ErrorKind::InvalidArgument,
            // NotFound would say that there is no such model.
            Self::Missing { .. } => ErrorKind::InvalidArgument,
            Self::Configuration { .. } => ErrorKind::Internal,
            Self::Source { .. } => ErrorKind::Unavailable,
            Self::Deadline { .. } => ErrorKind::DeadlineExceeded,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Source { .. } => Retry::After(Duration::from_secs(1)),
            _ => Retry::Never,
        }
    }

    fn client_message(&self) -> Cow<'static, str> {
        match self {
            // What tables and keys look like is nobody's business.
            Self::Configuration { model, .. } => {
                format!("model '{model}': its lookup cannot be done: see the server's log").into()
            }
            Self::Source { source, .. } => format!("{self}: {source}").into(),
            error => error.to_string().into(),
        }
    }
}
