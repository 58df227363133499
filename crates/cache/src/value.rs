//! The form in which answers lie in shared tiers: compact, versioned, bound to their key, checked when they are read.
//!
//! ```text
//! offset  bytes
//!      0      4  "ADC" and the version of the form, 1
//!      4      1  how the body is packed: 0 as it is, 1 LZ4 block
//!      5     16  BLAKE3 of all that follows, keyed with the answer's key, cut to 16 bytes
//!     21      8  when it was computed, in milliseconds since 1970
//!     29      8  how long the body is, unpacked
//!     37      …  the body
//! ```
//!
//! The body is a count of outputs and each of them (datatype, rank, dimensions, length, data), then a count of parameters and
//! each of them (name, kind, value). Numbers are little-endian; counts, dimensions and lengths are LEB128.
//!
//! What is read is hostile: the checksum shows that nothing was damaged or mixed up on the way, not that whoever can write
//! into the tier means well. Everything is bounded by the length of what came and by the caller's limit.

mod read;
mod write;

use adulis_tensor::Tensor;
use adulis_types::Parameters;
use bytes::Bytes;

use crate::Key;

pub use read::{ValueError, decode};
pub use write::{Packing, encode};

/// An answer as tiers hold it: the outputs that were asked for, in the signature's order, and the parameters that the model
/// gave with them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The outputs: those that were asked for, in the signature's order. One row, where rows are looked up one by one.
    pub outputs: Vec<Tensor>,
    /// What the model said beside them.
    pub parameters: Parameters,
}

const MAGIC: [u8; 4] = *b"ADC\x01";
const CHECKSUM_BYTES: usize = 16;
const CHECKSUM_AT: usize = 5;
const CHECKED_AT: usize = CHECKSUM_AT + CHECKSUM_BYTES;
const BODY_AT: usize = CHECKED_AT + 16;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// Of the packing, too: it stands before the checksum.
fn checksum(key: &Key, packing: u8, checked: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(key.as_bytes());
    hasher.update(&[packing]).update(checked);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

/// A value of any content whose checksum is right, for tests and the fuzzer: `rest` is all that follows the checksum.
#[doc(hidden)]
#[must_use]
pub fn checksummed(key: &Key, packing: u8, rest: &[u8]) -> Bytes {
    let mut value = MAGIC.to_vec();
    value.push(packing);
    value.extend_from_slice(&checksum(key, packing, rest));
    value.extend_from_slice(rest);
    value.into()
}

#[cfg(test)]
mod tests;
