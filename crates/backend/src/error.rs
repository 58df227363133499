/// Why a backend could not load or run a model.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend cannot run on this machine.
    #[error("backend {backend} is not available: {reason}")]
    Unavailable {
        /// The backend.
        backend: &'static str,
        /// Why, and what to do about it.
        reason: String,
    },
    /// The model file is missing, corrupt, or of a kind that the engine cannot read.
    #[error("cannot load {path}: {reason}")]
    Load {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option is unknown or cannot be honoured here.
    #[error("engine option {option}: {reason}")]
    Option {
        /// The option's key.
        option: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model or its configuration has what this backend does not do.
    #[error("not supported: {what}")]
    Unsupported {
        /// What it is.
        what: String,
    },
    /// The run failed. It says something about this batch, not about the instance.
    #[error("execution failed: {reason}")]
    Execution {
        /// The engine's own words.
        reason: String,
    },
    /// The inputs have the signature's datatypes and shapes, and still are none that the model takes. The request is at fault.
    #[error("{reason}")]
    Input {
        /// What is wrong with them.
        reason: String,
    },
    /// The run was stopped by [`crate::Interrupt`].
    #[error("execution was interrupted")]
    Interrupted,
    /// The instance cannot be used any more.
    #[error("the instance is broken: {reason}")]
    Broken {
        /// What happened.
        reason: String,
    },
}
