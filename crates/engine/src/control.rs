use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use adulis_types::{ErrorKind, Name, Retry, ServiceError, Who};

/// Who says which models are loaded. Triton's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ControlMode {
    /// All models are loaded at start, and none is loaded or unloaded afterwards.
    #[default]
    None,
    /// Models are loaded and unloaded by request; these at start.
    Explicit(StartModels),
    /// All models are loaded at start. The repositories are looked through again after each interval: new models are
    /// loaded, changed ones loaded again, and those that are gone unloaded.
    Poll(Duration),
}

/// Which models are loaded at start where models are loaded by request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartModels {
    /// All that there are.
    All,
    /// Those of these names.
    Named(Vec<String>),
}

/// Why a model was not loaded or unloaded as asked.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "each field is what the message calls it")]
pub enum ControlError {
    /// The repositories decide, not requests.
    #[error("explicit model load / unload is not allowed if polling is enabled")]
    Polled,
    /// All models were loaded at start.
    #[error(
        "explicit model load / unload is not allowed if all models are loaded at start; start the server with \
         --model-control-mode explicit"
    )]
    AtStartOnly,
    /// No repository has such a model.
    #[error("failed to load '{model}', failed to poll from model repository")]
    NotFound { model: Name },
    /// No repository that can be read has such a model, and there are others.
    #[error(
        "failed to load '{model}', failed to poll from model repository: a repository cannot be read at the moment"
    )]
    Unreadable { model: Name },
    /// It could not be read or loaded. Where an older one answers, it goes on.
    #[error("failed to load '{model}', {reason}")]
    Failed { model: Name, reason: Arc<str> },
    /// What the request brought along for the model is at fault.
    #[error("failed to load '{model}', {reason}")]
    Override { model: Name, reason: Arc<str> },
    /// An ensemble is made of a model that whoever asks may not use.
    #[error(
        "failed to load '{model}', {who} may not use its step '{step}': ask as somebody whose models include that one"
    )]
    Step { model: Name, step: Name, who: Who },
    /// Too many loads and unloads wait for their turn.
    #[error("model '{model}': {limit} loads and unloads are waiting already")]
    Busy { model: Name, limit: usize },
    /// The engine is closing.
    #[error("the server is shutting down")]
    Closing,
}

impl ServiceError for ControlError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy { .. } | Self::Closing => ErrorKind::Overloaded,
            Self::Unreadable { .. } => ErrorKind::Unavailable,
            Self::Step { .. } => ErrorKind::PermissionDenied,
            Self::Polled
            | Self::AtStartOnly
            | Self::NotFound { .. }
            | Self::Failed { .. }
            | Self::Override { .. } => ErrorKind::InvalidArgument,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } => Retry::After(Duration::from_secs(1)),
            Self::Closing => Retry::Anywhere,
            _ => Retry::Never,
        }
    }

    fn client_message(&self) -> Cow<'static, str> {
        self.to_string().into()
    }
}
