use std::borrow::Cow;

use adulis_tensor::{DataType, Shape};
use adulis_types::{ErrorKind, Name, ServiceError};

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
    /// A buffer would be longer than its offsets can tell.
    #[error(
        "model '{model}': the message has {length} bytes, and FlatBuffers end at 2 GiB: use another form of the body"
    )]
    TooLong {
        /// The model.
        model: Name,
        /// How long it would be.
        length: usize,
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
