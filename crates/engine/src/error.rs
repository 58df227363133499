use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use adulis_backend::BackendError;
use adulis_batcher::{QueueLimit, TooLate};
use adulis_tensor::{DataType, Shape, ShapePattern};
use adulis_types::{ErrorKind, Failure, Name, Retry, SequenceId, ServiceError};

/// Why a request was not answered.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "each field is what the message calls it")]
pub enum EngineError {
    /// The model is not in any repository.
    #[error("Request for unknown model: '{model}' is not found")]
    ModelNotFound { model: Name },
    /// The model is there, this version of it is not.
    #[error("Request for unknown model: '{model}' version {version} is not found (there: {available})")]
    VersionNotFound { model: Name, version: u64, available: String },
    /// The model is there and cannot answer.
    #[error("model '{model}' is not ready: {reason}")]
    NotReady { model: Name, reason: Arc<str> },
    /// The model is being loaded, and no earlier one answers.
    #[error("model '{model}' is not ready: it is still loading")]
    Loading { model: Name },
    /// A step of an ensemble could not be answered.
    #[error("in ensemble '{ensemble}', {source}")]
    Step { ensemble: Arc<str>, source: Box<EngineError> },
    /// The model is unloaded, or is being so. Triton's text.
    #[error("Request for unknown model: '{model}' has no available versions")]
    Unloaded { model: Name },
    /// A required input is not in the request.
    #[error("model '{model}': input '{input}' ({datatype} {shape}) is missing")]
    MissingInput { model: Arc<str>, input: Arc<str>, datatype: DataType, shape: Box<ShapePattern> },
    /// The request has an input that the model has not.
    #[error("model '{model}': unexpected input '{input}'; the model's inputs are {expected}")]
    UnknownInput { model: Arc<str>, input: Name, expected: String },
    /// An input is there twice.
    #[error("model '{model}': input '{input}' is given more than once")]
    DuplicateInput { model: Arc<str>, input: Name },
    /// An input has another datatype.
    #[error("model '{model}': input '{input}' has datatype {actual}, expected {expected}")]
    InputDatatype { model: Arc<str>, input: Arc<str>, expected: DataType, actual: DataType },
    /// An input's shape does not fit.
    #[error("model '{model}': input '{input}' has shape {actual}, expected {expected}")]
    InputShape {
        model: Arc<str>,
        input: Arc<str>,
        expected: Box<ShapePattern>,
        actual: Box<Shape>,
    },
    /// Inputs disagree about the number of rows.
    #[error("model '{model}': input '{input}' has {actual} rows where '{first}' has {expected}")]
    InputRows {
        model: Arc<str>,
        input: Arc<str>,
        first: Arc<str>,
        expected: usize,
        actual: usize,
    },
    /// A request to a batching model without a row.
    #[error("model '{model}': input '{input}' has shape {actual}: at least one row is needed")]
    NoRows { model: Arc<str>, input: Arc<str>, actual: Box<Shape> },
    /// More rows than one batch may have.
    #[error("model '{model}': {rows} rows in one request, at most {max} are allowed (max_batch_size)")]
    TooManyRows { model: Arc<str>, rows: usize, max: usize },
    /// A requested output that the model has not.
    #[error("model '{model}': unexpected output '{output}' requested; the model's outputs are {expected}")]
    UnknownOutput { model: Arc<str>, output: Name, expected: String },
    /// An output is requested twice.
    #[error("model '{model}': output '{output}' is requested more than once")]
    DuplicateOutput { model: Arc<str>, output: Name },
    /// An output of text is wanted as classes.
    #[error(
        "model '{model}': output '{output}' has no classes: its datatype is BYTES, and classification is of numbers"
    )]
    NoClasses { model: Arc<str>, output: Name },
    /// An extension that this server or model does not do.
    #[error("model '{model}': {what} is not supported")]
    Unsupported { model: Arc<str>, what: &'static str },
    /// A request without a correlation id to a model that batches sequences. Triton's text.
    #[error("inference request to model '{model}' must specify a non-zero or non-empty correlation ID")]
    NoCorrelationId { model: Arc<str> },
    /// A correlation id that the model's control input cannot hold.
    #[error("model '{model}': the correlation ID {id} cannot be told to the model as {datatype}")]
    CorrelationId { model: Arc<str>, id: SequenceId, datatype: DataType },
    /// More or fewer rows than the one that a sequence has. Triton's text.
    #[error(
        "inference request to model '{model}' must specify batch-size 1 due to requirements of sequence batcher, got {rows}"
    )]
    SequenceRows { model: Arc<str>, rows: usize },
    /// The sequence is not open, and the request does not start it. Triton's text.
    #[error(
        "inference request for sequence {id} to model '{model}' must specify the START flag on the first request of the sequence"
    )]
    SequenceNotStarted { model: Arc<str>, id: SequenceId },
    /// The sequence is another identity's, and the model cannot tell two of one id apart.
    #[error(
        "model '{model}': sequence {id} is open for another client, and the model knows sequences by their ids: choose another id"
    )]
    SequenceOfAnother { model: Arc<str>, id: SequenceId },
    /// The sequence ended before its time, and takes the request with it.
    #[error("model '{model}': sequence {id} was given up: {reason}")]
    SequenceGivenUp { model: Arc<str>, id: SequenceId, reason: &'static str },
    /// A request for one answer to a model that may give any number. Triton's words after the first.
    #[error(
        "model '{model}': this endpoint doesn't support models with decoupled transaction policy; ask over ModelStreamInfer or generate_stream"
    )]
    Decoupled { model: Arc<str> },
    /// The queue is full.
    #[error("model '{model}': the queue is full ({limit} {what} are waiting)")]
    QueueFull { model: Arc<str>, limit: usize, what: QueueLimit, retry_after: Duration },
    /// An answer would come too late: the request was not queued.
    #[error("model '{model}': {reason}")]
    TooLate { model: Arc<str>, reason: TooLate },
    /// A request of higher priority needed the place in the queue.
    #[error(
        "model '{model}': the queue is full, and a request of higher priority, or of a client with fewer, took this one's place"
    )]
    Displaced { model: Arc<str>, retry_after: Duration },
    /// It waited for so long that an answer would come too late: it was not run.
    #[error(
        "model '{model}': the deadline can't be met any more after {waited_microseconds} us in the queue"
    )]
    Late { model: Arc<str>, waited_microseconds: u64 },
    /// The caller's deadline passed.
    #[error("model '{model}': deadline exceeded after {waited_microseconds} us")]
    DeadlineExceeded { model: Arc<str>, waited_microseconds: u64 },
    /// The queue policy's timeout passed before the request was executed.
    #[error("model '{model}': request timed out in the queue after {waited_microseconds} us")]
    QueueTimeout { model: Arc<str>, waited_microseconds: u64 },
    /// The run failed.
    #[error("model '{model}': execution failed: {reason}")]
    Execution { model: Arc<str>, reason: String },
    /// The run did not come to its end for what has nothing to do with the request.
    #[error("model '{model}': execution failed: {reason}")]
    Broken { model: Arc<str>, reason: String },
    /// The model does not take these inputs, though they fit its signature.
    #[error("model '{model}': {reason}")]
    Refused { model: Arc<str>, reason: String },
    /// The model refuses outputs that are no numbers, and gave one.
    #[error(
        "model '{model}': output '{output}' has a NaN or an infinity at index {index}, which the model's configuration refuses (refuse_non_finite_outputs)"
    )]
    NonFiniteOutput { model: Arc<str>, output: Arc<str>, index: usize },
    /// The run took longer than it may. Not worth another try: it may hang the next instance, too.
    #[error(
        "model '{model}': the execution took longer than {limit_milliseconds} ms (max_execution_time) and was given up"
    )]
    ExecutionLimit { model: Arc<str>, limit_milliseconds: u64 },
    /// The backend panicked.
    #[error("model '{model}': the backend panicked: {reason}")]
    Panicked { model: Arc<str>, reason: String },
    /// The run failed before, and that is remembered.
    #[error("{0}")]
    Remembered(Failure),
    /// The engine is closing.
    #[error("the server is shutting down")]
    Closing,
}

impl ServiceError for EngineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::ModelNotFound { .. } | Self::VersionNotFound { .. } => ErrorKind::NotFound,
            Self::NotReady { .. }
            | Self::Loading { .. }
            | Self::Unloaded { .. }
            | Self::SequenceGivenUp { .. } => ErrorKind::Unavailable,
            Self::Step { source, .. } => source.kind(),
            Self::MissingInput { .. }
            | Self::UnknownInput { .. }
            | Self::DuplicateInput { .. }
            | Self::InputDatatype { .. }
            | Self::InputShape { .. }
            | Self::InputRows { .. }
            | Self::NoRows { .. }
            | Self::TooManyRows { .. }
            | Self::UnknownOutput { .. }
            | Self::DuplicateOutput { .. }
            | Self::NoClasses { .. }
            | Self::NoCorrelationId { .. }
            | Self::CorrelationId { .. }
            | Self::SequenceRows { .. }
            | Self::SequenceNotStarted { .. }
            | Self::SequenceOfAnother { .. }
            | Self::Refused { .. } => ErrorKind::InvalidArgument,
            Self::Unsupported { .. } | Self::Decoupled { .. } => ErrorKind::Unsupported,
            Self::TooLate { reason: TooLate::Impossible { .. }, .. } => ErrorKind::DeadlineExceeded,
            Self::QueueFull { .. } | Self::TooLate { .. } | Self::Displaced { .. } | Self::Closing => {
                ErrorKind::Overloaded
            }
            Self::DeadlineExceeded { .. } | Self::Late { .. } | Self::QueueTimeout { .. } => {
                ErrorKind::DeadlineExceeded
            }
            Self::Execution { .. }
            | Self::Broken { .. }
            | Self::NonFiniteOutput { .. }
            | Self::ExecutionLimit { .. }
            | Self::Panicked { .. } => ErrorKind::Internal,
            Self::Remembered(failure) => failure.kind,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::QueueFull { retry_after, .. } | Self::Displaced { retry_after, .. } => {
                Retry::After(*retry_after)
            }
            Self::TooLate { reason, .. } => reason.retry_after().map_or(Retry::Never, Retry::After),
            Self::Closing | Self::Late { .. } | Self::QueueTimeout { .. } => Retry::Anywhere,
            Self::NotReady { .. } | Self::Loading { .. } => Retry::After(Duration::from_secs(1)),
            Self::Step { source, .. } => source.retry(),
            _ => Retry::Never,
        }
    }

    fn client_message(&self) -> Cow<'static, str> {
        match self {
            // The panic's text is the backend's own business; it is in the log.
            Self::Panicked { model, .. } => format!("model '{model}': the backend panicked").into(),
            Self::Step { ensemble, source } => {
                format!("in ensemble '{ensemble}', {}", source.client_message()).into()
            }
            other => other.to_string().into(),
        }
    }
}

impl EngineError {
    /// The error of a step, as the error of its ensemble.
    pub(crate) fn within(self, ensemble: &Arc<str>) -> Self {
        Self::Step { ensemble: Arc::clone(ensemble), source: Box::new(self) }
    }
}

/// Why a model version could not be loaded.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is what the message calls it")]
pub enum LoadError {
    /// The configuration names a backend that this server has not.
    #[error("backend '{backend}' is not known; there are {known}")]
    UnknownBackend { backend: String, known: String },
    /// No backend can run here.
    #[error("no backend is available: {reasons}")]
    NoBackend { reasons: String },
    /// The backend refused.
    #[error("{0}")]
    Backend(#[from] BackendError),
    /// The backend panicked while it loaded.
    #[error("the backend panicked: {reason}")]
    Panicked { reason: String },
    /// They were changed again whenever they were read.
    #[error(
        "the model's files changed while they were read, {times} times in a row: load it again when they are complete"
    )]
    Changing { times: usize },
    /// Configuration and model disagree.
    #[error("{key}: {reason}")]
    Configuration { key: String, reason: String },
    /// The models of an ensemble are not there or do not fit together, while those that serve do.
    #[error("{reason}")]
    Ensemble { reason: Arc<str> },
    /// A configured warm-up request failed.
    #[error("warm-up '{name}' failed: {reason}")]
    Warmup { name: String, reason: String },
}
