//! Batches of a few fixed sizes, for engines that plan their kernels anew whenever the shape changes: a batch is padded to the
//! next size, and each size has an instance that never meets another.

use std::sync::Arc;

use adulis_backend::{BatchInput, Model};
use adulis_tensor::Tensor;

use crate::plan::Plan;
use crate::zeros::zeros;

/// Rows that batches are padded to, ascending; none: batches are run as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BatchSizes(Arc<[usize]>);

impl BatchSizes {
    /// What the configuration asks for, else powers of two where the model prefers that; none where rows may know of each other.
    pub(crate) fn derive(wanted: Option<&[usize]>, model: &dyn Model, plan: &Plan) -> Self {
        let independent = plan.sequences.is_none()
            && !model.keeps_state()
            && !model.is_decoupled()
            && !model.reads_requests();
        match (plan.max_rows, wanted) {
            (Some(most), Some(wanted)) if independent => Self::of(wanted, most),
            (Some(most), None) if independent && most > 1 && model.prefers_fixed_batches() => {
                let powers: Vec<usize> = (0..usize::BITS).map(|power| 1 << power).collect();
                Self::of(&powers, most)
            }
            _ => Self::default(),
        }
    }

    /// The sizes below `most`, and `most`.
    fn of(sizes: &[usize], most: usize) -> Self {
        if sizes.is_empty() {
            return Self::default();
        }
        let below = sizes.iter().copied().take_while(|size| *size < most);
        Self(below.chain([most]).collect())
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[usize] {
        &self.0
    }

    /// The first that `rows` fit into, and its index. None where batches are run as they are.
    pub(crate) fn fitting(&self, rows: usize) -> Option<(usize, usize)> {
        let index = self.0.partition_point(|size| *size < rows);
        self.0.get(index).map(|size| (index, *size))
    }
}

/// The batch with rows of zeros behind it, as many as `size` takes.
///
/// Cost: the zeros; the parts are shared.
pub(crate) fn pad(inputs: &[BatchInput], size: usize) -> Vec<BatchInput> {
    inputs
        .iter()
        .map(|input| {
            let missing = size.saturating_sub(input.shape.rows().unwrap_or(size));
            let mut padded = input.clone();
            padded.shape = input.shape.with_rows(size);
            padded.parts.extend(zeros(input.datatype, input.shape.with_rows(missing)));
            padded
        })
        .collect()
}

/// Takes the rows that were padded off again. An output that has another number of rows is left as it is, to be refused.
pub(crate) fn cut(outputs: &mut [Tensor], rows: usize, size: usize) {
    for output in outputs.iter_mut().filter(|output| output.shape().rows() == Some(size)) {
        if let Some(kept) = output.rows(0..rows) {
            *output = kept;
        }
    }
}

#[cfg(test)]
mod tests;
