//! Datatypes, shapes and tensors: bytes together with what they mean.
//!
//! A [`Tensor`] is always valid: its byte length is what its [`DataType`] and [`Shape`] say, checked with
//! overflow-safe arithmetic when it is made, so nothing further in has to check again. Tensor data is shared
//! ([`bytes::Bytes`]): cloning a tensor or taking rows of it copies no data.
//!
//! Numbers are little-endian and row-major, as the Open Inference Protocol's binary tensor extension has them.
//! `BYTES` tensors stay in that extension's form (each element a 4-byte little-endian length and its bytes)
//! from socket to engine. There is no arithmetic on tensors here, and no I/O.

mod aligned;
mod datatype;
mod elements;
mod shape;
mod tensor;

pub use aligned::AlignedBuffer;
pub use datatype::{DataType, UnknownDataType};
pub use elements::{BytesElements, append_element, elements_of, scan_elements};
pub use shape::{Shape, ShapePattern};
pub use tensor::{Tensor, TensorError};
