//! FlatBuffers: `proto/infer.fbs`.
//!
//! A buffer is read where it lies. Each field is checked when it is read: offsets and lengths against the buffer, tables
//! against their vtables, counts against the limits, and all that is read together against the buffer's length, so that
//! fields that overlap cannot make a small buffer large. The depth is the schema's. Tensors are slices of the body going in,
//! and pieces of it going out.

mod parameter;
mod request;
mod response;
mod table;
mod tensor;
mod writer;

pub use request::{decode_infer, encode_request};
pub use response::{decode_response, encode_infer};
