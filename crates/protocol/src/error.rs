use std::borrow::Cow;
use std::fmt;

use adulis_tensor::{DataType, Shape, TensorError, UnknownDataType};
use adulis_types::{ErrorKind, Name, ServiceError};

use crate::rest::v1::PredictProblem;

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
            Problem::RawBody | Problem::Tensor { problem: TensorProblem::SharedMemory, .. } => {
                ErrorKind::Unsupported
            }
            Problem::Tensor { problem: TensorProblem::SharedMemoryBytes { .. }, .. } => ErrorKind::TooLarge,
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
    /// An inference header of length 0: the body is one tensor's bytes and nothing else.
    #[error("a body of tensor bytes without a JSON object before them is not supported")]
    RawBody,
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
    /// The rows or columns of a V1 request are wrong.
    #[error(transparent)]
    Predict(#[from] PredictProblem),
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

/// Inputs or outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// An input.
    Input,
    /// An output.
    Output,
}

impl Side {
    /// `inputs` or `outputs`.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Side::Input => "inputs",
            Side::Output => "outputs",
        }
    }
}

/// A tensor as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLabel {
    /// Input or output.
    pub side: Side,
    /// Its place in the message, from 0.
    pub index: usize,
    /// Its name, if that is known.
    pub name: Option<Name>,
}

impl TensorLabel {
    /// Puts a problem to this tensor.
    pub(crate) fn problem(self, problem: TensorProblem) -> Box<Problem> {
        Box::new(Problem::Tensor { tensor: self, problem })
    }
}

impl fmt::Display for TensorLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Input => "input",
            Side::Output => "output",
        };
        match &self.name {
            Some(name) => write!(f, "{side} '{name}'"),
            None => write!(f, "{side} number {}", self.index),
        }
    }
}

/// What is wrong with one tensor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorProblem {
    /// A key that must be there is not.
    #[error("missing '{key}'")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The protocol has no such datatype.
    #[error("datatype '{got}': {}", UnknownDataType)]
    Datatype {
        /// What came.
        got: Name,
    },
    /// A dimension is below zero, or no whole number.
    #[error(
        "expected dimensions that are whole numbers of 0 or more, got {got} at index {index} of the shape"
    )]
    Dimension {
        /// Index in the shape.
        index: usize,
        /// What came.
        got: Name,
    },
    /// The shape has too many dimensions.
    #[error("expected at most {limit} dimensions, got {got}")]
    Rank {
        /// How many may be there.
        limit: usize,
        /// How many came, as far as they were counted.
        got: usize,
    },
    /// JSON has no form for this datatype.
    #[error("{datatype} has no form in JSON: send binary data over the v2 protocol ('binary_data_size')")]
    NotInJson {
        /// The datatype.
        datatype: DataType,
    },
    /// One element is not of the datatype.
    #[error("expected {expected} for {datatype} at element {index}, got {got}")]
    Value {
        /// The datatype.
        datatype: DataType,
        /// Index of the element, row-major.
        index: usize,
        /// What the datatype takes.
        expected: &'static str,
        /// What came.
        got: Name,
    },
    /// The number of elements is not the shape's.
    #[error("expected {expected} elements for {datatype} {shape}, got {actual}")]
    Elements {
        /// The datatype.
        datatype: DataType,
        /// The shape.
        shape: Shape,
        /// Elements that the shape has.
        expected: usize,
        /// Elements that came.
        actual: usize,
    },
    /// A list of nested data has another length than the shape says.
    #[error("expected lists of {expected} along dimension {axis} of {shape}, got one of {actual}")]
    Ragged {
        /// The shape.
        shape: Shape,
        /// The dimension.
        axis: usize,
        /// Its extent.
        expected: usize,
        /// The list's length.
        actual: usize,
    },
    /// Data is nested less or more deeply than the shape says.
    #[error("expected flat data or lists nested {rank} deep for {shape}, got {got} at depth {depth}")]
    Nesting {
        /// The shape.
        shape: Shape,
        /// Its rank.
        rank: usize,
        /// What came.
        got: &'static str,
        /// How deep it stands, 1 for the elements of the outermost list.
        depth: usize,
    },
    /// Data came in two forms.
    #[error("expected either 'data' or 'binary_data_size', got both")]
    TwoForms,
    /// There is no data.
    #[error("expected 'data' or 'binary_data_size', got neither")]
    NoData,
    /// The body ends before the tensor does.
    #[error("expected {claimed} bytes of binary data ('binary_data_size'), got {available} left in the body")]
    BinarySize {
        /// Bytes that the request says there are.
        claimed: u64,
        /// Bytes that are left.
        available: usize,
    },
    /// Typed contents are in the wrong field.
    #[error("expected {expected} for {datatype}, got {got}")]
    Contents {
        /// The datatype.
        datatype: DataType,
        /// Where its elements belong.
        expected: &'static str,
        /// Where they came.
        got: &'static str,
    },
    /// A byte of a BOOL tensor is neither 0 nor 1.
    #[error("expected bytes of 0 or 1 for BOOL, got {got} at element {index}")]
    Bool {
        /// Index of the element.
        index: usize,
        /// The byte.
        got: u8,
    },
    /// The tensor is in shared memory, which is off.
    #[error(
        "shared memory is off on this server: start it with --shared-memory, or send and take the data itself"
    )]
    SharedMemory,
    /// The inputs in shared memory are too large together.
    #[error(
        "the inputs in shared memory have {bytes} bytes up to here, over the limit of {limit} for one request"
    )]
    SharedMemoryBytes {
        /// How many, this input's included.
        bytes: u64,
        /// How many are taken.
        limit: u64,
    },
    /// The data is said to be in shared memory, and there is other data too.
    #[error("expected no data beside 'shared_memory_region', got {got}")]
    BesideSharedMemory {
        /// In what form.
        got: &'static str,
    },
    /// The data of a response is where only its client can look.
    #[error("the data is in a shared memory region, and not in the response")]
    InSharedMemory,
    /// Bytes, datatype and shape do not fit together.
    #[error(transparent)]
    Bytes(#[from] TensorError),
}

/// Why a response could not be encoded: its data has no JSON form, or no room where it should go.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The datatype has no JSON form.
    #[error("model '{model}': output '{output}' is {datatype}, which has no form in JSON: {ASK_FOR_BINARY}")]
    Datatype {
        /// The model.
        model: Name,
        /// The output.
        output: Name,
        /// The datatype.
        datatype: DataType,
    },
    /// A number is NaN or infinite.
    #[error(
        "model '{model}': output '{output}' is not a finite number at element {index}, which has no form in JSON: {ASK_FOR_BINARY}"
    )]
    NotFinite {
        /// The model.
        model: Name,
        /// The output.
        output: Name,
        /// Index of the element.
        index: usize,
    },
    /// The place in shared memory that the request has for an output is too small.
    #[error(
        "model '{model}': output '{output}' has {needed} bytes, but 'shared_memory_byte_size' gives it {given} in region \
         '{region}'"
    )]
    SharedMemorySize {
        /// The model.
        model: Name,
        /// The output.
        output: Name,
        /// The region.
        region: Name,
        /// Bytes that the output has.
        needed: usize,
        /// Bytes that there are for it.
        given: u64,
    },
    /// An element of a BYTES output is not UTF-8.
    #[error(
        "model '{model}': output '{output}' is not UTF-8 text at element {index}, which has no form in JSON: {ASK_FOR_BINARY}"
    )]
    NotText {
        /// The model.
        model: Name,
        /// The output.
        output: Name,
        /// Index of the element.
        index: usize,
    },
    /// An output has not one row for each of the others, or no rows at all.
    #[error(
        "model '{model}': output '{output}' of shape {shape} has not the {rows} rows of the others: ask in the column format ('inputs' instead of 'instances')"
    )]
    Rows {
        /// The model.
        model: Name,
        /// The output.
        output: Name,
        /// Its shape.
        shape: Shape,
        /// Rows of the first output that has any.
        rows: usize,
    },
    /// An output has no elements, but lists without end around them.
    #[error(
        "model '{model}': output '{output}' of shape {shape} has no elements and too many lists: {ASK_FOR_BINARY}"
    )]
    EmptyLists {
        /// The model.
        model: Name,
        /// The output.
        output: Name,
        /// Its shape.
        shape: Shape,
    },
}

const ASK_FOR_BINARY: &str = "ask the v2 protocol for binary data (output parameter 'binary_data')";

impl ServiceError for EncodeError {
    fn kind(&self) -> ErrorKind {
        // The request asked for a form that this answer does not have; another form would do.
        ErrorKind::InvalidArgument
    }

    fn client_message(&self) -> Cow<'static, str> {
        self.to_string().into()
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
