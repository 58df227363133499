use std::fmt;

use crate::Name;

/// Where a request stands in a sequence (`sequence_id`, `sequence_start`, `sequence_end` parameters).
///
/// Source: Triton's sequence extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Which sequence.
    pub id: SequenceId,
    /// Whether the request begins it. A sequence of this id that is still open is given up.
    pub start: bool,
    /// Whether the request ends it.
    pub end: bool,
}

/// The correlation id of a sequence: a number or a text, as the model takes it. 0 and the empty text are no id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SequenceId {
    /// A number.
    Number(u64),
    /// A text of at most 128 bytes.
    Text(Name),
}

impl SequenceId {
    /// Longest text, in bytes.
    pub const MAX_TEXT_BYTES: usize = 128;
}

impl fmt::Display for SequenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SequenceId::Number(number) => write!(f, "{number}"),
            SequenceId::Text(text) => write!(f, "'{text}'"),
        }
    }
}
