use std::borrow::Cow;
use std::time::Duration;

use adulis_types::{ErrorKind, Name, Retry, ServiceError};

use crate::StoreError;

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
    /// No row has this id.
    #[error("model '{model}': input '{input}': nothing is known of {id}")]
    Missing {
        /// The model.
        model: Name,
        /// The key.
        input: String,
        /// The id.
        id: String,
    },
    /// The model's configuration, or the table, is at fault.
    #[error("model '{model}': its lookup cannot be done: {reason}")]
    Configuration {
        /// The model.
        model: Name,
        /// What is wrong.
        reason: String,
    },
    /// The database could not be asked.
    #[error("model '{model}': input '{input}': the database could not be asked")]
    Store {
        /// The model.
        model: Name,
        /// The key.
        input: String,
        /// Why.
        source: std::sync::Arc<StoreError>,
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
            Self::Store { .. } => ErrorKind::Unavailable,
            Self::Deadline { .. } => ErrorKind::DeadlineExceeded,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Store { .. } => Retry::After(Duration::from_secs(1)),
            _ => Retry::Never,
        }
    }

    fn client_message(&self) -> Cow<'static, str> {
        match self {
            // What the tables look like is nobody's business.
            Self::Configuration { model, .. } => {
                format!("model '{model}': its lookup cannot be done: see the server's log").into()
            }
            error => error.to_string().into(),
        }
    }
}
