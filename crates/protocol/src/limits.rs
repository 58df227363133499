/// Inputs, and requested outputs, that one request may have.
pub const MAX_TENSORS: usize = 1024;

/// Parameters that one `parameters` object may have.
pub const MAX_PARAMETERS: usize = 64;

/// Parameters that one request to load a model may have: its configuration and its files.
pub const MAX_LOAD_PARAMETERS: usize = 1024;

/// Dimensions that a shape may have.
pub const MAX_RANK: usize = 32;

/// Objects and arrays that may be open at once in a JSON document: the shape's nesting and what stands around it.
pub const MAX_DEPTH: usize = MAX_RANK + 16;

/// Integers that one message may have in its shapes and typed contents, where they may take eight times their bytes in memory.
/// As many as a message of 256 MiB has room for as raw contents of 64-bit integers.
pub(crate) const MAX_TYPED_NUMBERS: usize = 32 << 20;

/// Strings that one message may have in its typed contents, where they may take sixteen times their bytes in memory.
pub(crate) const MAX_TYPED_STRINGS: usize = 8 << 20;

/// Settings that one message may change.
pub(crate) const MAX_SETTINGS: usize = 64;
