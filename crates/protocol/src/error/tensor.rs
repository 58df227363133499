use std::fmt;

use adulis_tensor::{DataType, Shape, ShapePattern, TensorError, UnknownDataType};
use adulis_types::Name;

use super::Problem;

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
    /// A body without a JSON object before it is not the input's data.
    #[error(
        "{bytes} bytes do not fill {datatype} {shape}: without a JSON object before the data, at most one dimension behind the batch dimension may be open, and BYTES is one element"
    )]
    RawBytes {
        /// The input's datatype.
        datatype: DataType,
        /// Its shape.
        shape: ShapePattern,
        /// Bytes of the body.
        bytes: usize,
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
