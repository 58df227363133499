mod encode;
mod tensor;

use std::borrow::Cow;
use std::fmt;

use adulis_types::{ErrorKind, Name, ServiceError};

pub use encode::EncodeError;
pub use tensor::{Side, TensorLabel, TensorProblem};

use crate::control::ControlProblem;
use crate::rest::generate::GenerateProblem;
use crate::rest::v1::PredictProblem;
use crate::settings::SettingProblem;

/// What decoders return before the model's name is put to it.
pub(crate) type Parsed<T> = Result<T, Box<Problem>>;

/// Why a request or response could not be decoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", Prefix(.model))]
pub struct DecodeError {
    /// The model's name; empty where it is not known.
    pub model: Name,
    /// What is wrong.
    pub problem: Box<Problem>,
}

impl DecodeError {
    /// A problem with a message for `model`.
    pub fn new(model: impl Into<Name>, problem: impl Into<Box<Problem>>) -> Self {
        Self { model: model.into(), problem: problem.into() }
    }
}

impl ServiceError for DecodeError {
    fn kind(&self) -> ErrorKind {
        match &*self.problem {
            Problem::Tensor { problem: TensorProblem::SharedMemory, .. } => ErrorKind::Unsupported,
            Problem::Tensor { problem: TensorProblem::SharedMemoryBytes { .. }, .. } => ErrorKind::TooLarge,
            Problem::Control(problem) => problem.kind(),
            Problem::Setting(problem) => problem.kind(),
            _ => ErrorKind::InvalidArgument,
        }
    }

    fn client_message(&self) -> Cow<'static, str> {
        self.to_string().into()
    }
}

/// The model's name before a message, where it is known.
pub(crate) struct Prefix<'a>(pub(crate) &'a str);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            model => write!(f, "model '{model}': "),
        }
    }
}

/// What is wrong with a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is nothing to decode.
    #[error("the body is empty: expected a JSON object")]
    EmptyBody,
    /// The JSON part is said to be longer than the whole.
    #[error("the inference header is said to be {header} bytes long, but the body has {body}")]
    HeaderLength {
        /// The length in the HTTP header.
        header: usize,
        /// The body's length.
        body: usize,
    },
    /// A body without a JSON object before it, for a model that has not exactly one input.
    #[error(
        "a body without a JSON object before it is the data of one input, but the model requires {required}: send a JSON object"
    )]
    RawInputs {
        /// Inputs that are not optional.
        required: usize,
    },
    /// The text is not JSON, or not the JSON that belongs here.
    #[error("invalid JSON at byte {offset}: expected {expected}, got {found}")]
    Json {
        /// Where, counted from the body's start.
        offset: usize,
        /// What could have stood there.
        expected: &'static str,
        /// What stands there.
        found: Found,
    },
    /// A key that may stand once in its object stands twice.
    #[error("duplicate key '{key}'")]
    DuplicateKey {
        /// The key.
        key: Name,
    },
    /// A key that must be there is not.
    #[error("missing '{key}'")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A parameter has the wrong type or value.
    #[error("parameter '{name}': expected {expected}, got {found}")]
    Parameter {
        /// The parameter.
        name: Name,
        /// What it takes.
        expected: &'static str,
        /// What came.
        found: Name,
    },
    /// A parameter has one of the names that the protocol keeps for itself.
    #[error(
        "parameter '{name}': parameter keys starting with 'triton_' are reserved for Triton usage; the only one that is known is 'triton_enable_empty_final_response'"
    )]
    ReservedParameter {
        /// The parameter.
        name: Name,
    },
    /// There is more of something than is taken.
    #[error("too many {what}: at most {limit} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many may be there.
        limit: usize,
    },
    /// The bytes are not the message that belongs here.
    #[error("invalid message: {reason}")]
    Wire {
        /// Why.
        reason: Cow<'static, str>,
    },
    /// The path names one model and the body another.
    #[error("the body names another model: '{got}'")]
    OtherModel {
        /// The body's.
        got: Name,
    },
    /// The path names one version and the body another.
    #[error("the path names version {path}, the body version {got}")]
    OtherVersion {
        /// The path's.
        path: u64,
        /// The body's.
        got: u64,
    },
    /// The model's version is not one.
    #[error("expected a version number of 1 or more, got '{got}'")]
    Version {
        /// What came.
        got: Name,
    },
    /// The body goes on after the last binary tensor.
    #[error("{extra} bytes are left over in the body after the last binary tensor")]
    LeftoverBytes {
        /// How many.
        extra: usize,
    },
    /// Raw contents must be there for all tensors or none.
    #[error("expected {tensors} raw contents, one for each tensor, got {contents}")]
    RawContents {
        /// Tensors in the message.
        tensors: usize,
        /// Raw contents in the message.
        contents: usize,
    },
    /// The server answered with an error.
    #[error("{message}")]
    Refused {
        /// Its words.
        message: String,
    },
    /// Two tensors have one name.
    #[error("{tensor} is given twice")]
    DuplicateTensor {
        /// The tensor.
        tensor: TensorLabel,
    },
    /// A request about the model repository is wrong.
    #[error(transparent)]
    Control(#[from] ControlProblem),
    /// A request to change settings is wrong.
    #[error(transparent)]
    Setting(#[from] SettingProblem),
    /// The rows or columns of a V1 request are wrong.
    #[error(transparent)]
    Predict(#[from] PredictProblem),
    /// The object of a generate request is wrong.
    #[error(transparent)]
    Generate(#[from] GenerateProblem),
    /// One tensor is wrong.
    #[error("{tensor}: {problem}")]
    Tensor {
        /// The tensor.
        tensor: TensorLabel,
        /// What is wrong with it.
        problem: TensorProblem,
    },
}

/// What stands where something else was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found(
    /// The byte, or `None` at the end.
    pub Option<u8>,
);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("the end"),
            Some(byte @ 0x21..=0x7e) => write!(f, "'{}'", char::from(byte)),
            Some(byte) => write!(f, "byte 0x{byte:02x}"),
        }
    }
}

const EXCERPT_BYTES: usize = 40;

/// The first bytes of something that came from outside, as a message can carry them.
pub(crate) fn excerpt(bytes: &[u8]) -> Name {
    let (start, more) = match bytes.get(..EXCERPT_BYTES) {
        Some(start) if bytes.len() > EXCERPT_BYTES => (start, "…"),
        _ => (bytes, ""),
    };
    let text = String::from_utf8_lossy(start);
    let mut name: Name = text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect();
    name.push_str(more);
    name
}
