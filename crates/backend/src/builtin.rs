//! Backends that need no model file: for tests, and for sizing a deployment.

mod behaviour;
mod identity;
mod repeat;
mod sequence;

use std::sync::Arc;

use adulis_tensor::{AlignedBuffer, Tensor};
use bytes::Bytes;

pub use identity::BuiltIn;
pub use repeat::Repeat;
pub use sequence::Sequence;

use crate::{Backend, BackendError, BatchInput};

/// All of them.
#[must_use]
pub fn built_in() -> Vec<Arc<dyn Backend>> {
    vec![Arc::new(BuiltIn), Arc::new(Repeat), Arc::new(Sequence)]
}

/// An input as one tensor: its single part, or a copy of all of them.
fn gather(input: &BatchInput) -> Result<Tensor, BackendError> {
    if let [part] = input.parts.as_slice() {
        return Ok(part.clone());
    }
    let mut buffer = AlignedBuffer::default();
    buffer.gather(input.chunks());
    Tensor::new(input.datatype, input.shape.clone(), Bytes::from_owner(buffer))
        .map_err(|error| BackendError::Execution { reason: error.to_string() })
}
