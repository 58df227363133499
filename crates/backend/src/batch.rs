use std::sync::Arc;
use std::time::Duration;

use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::Parameters;

/// One input of a batch: parts from one or more requests that the instance puts together along the leading dimension.
#[derive(Debug, Clone)]
pub struct BatchInput {
    /// Index of the input in the model's signature.
    pub index: usize,
    /// Its name, for messages.
    pub name: Arc<str>,
    /// Its datatype.
    pub datatype: DataType,
    /// Shape of the whole: `[Σ rows, d_1, …]`, or the single part's shape for a model that does not batch.
    pub shape: Shape,
    /// The parts, in batch order. Never empty; all of this datatype, their dimensions after the first alike.
    pub parts: Vec<Tensor>,
}

impl BatchInput {
    /// The whole input as one slice without a copy, where it has one part that is aligned for its datatype.
    #[must_use]
    pub fn in_place(&self) -> Option<&[u8]> {
        let [part] = self.parts.as_slice() else {
            return None;
        };
        let size = self.datatype.size_bytes()?;
        (part.data().as_ptr().addr() % size == 0).then(|| &part.data()[..])
    }

    /// The parts' bytes, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.parts.iter().map(|part| &part.data()[..])
    }
}

/// What one run gave.
#[derive(Debug, Clone, Default)]
pub struct Execution {
    /// Outputs in the signature's order.
    pub outputs: Vec<Tensor>,
    /// Custom parameters of the answers, one entry for each request of the batch; empty where there are none.
    pub parameters: Vec<Parameters>,
    /// Time spent gathering inputs.
    pub input: Duration,
    /// Time spent in the engine's run.
    pub infer: Duration,
    /// Time spent taking outputs over.
    pub output: Duration,
}
