//! What both protocols check about tensors and their lists.

use std::collections::HashSet;

use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{InferRequest, Name};
use bytes::Bytes;

use crate::error::Parsed;
use crate::{MAX_RANK, MAX_TENSORS, Problem, Side, TensorLabel, TensorProblem};

/// Up to this many names are compared pairwise; a set is slower for so few.
const PAIRWISE: usize = 16;

/// A tensor of binary data. BOOL bytes are checked, since engines take any but 0 and 1 for undefined behaviour.
pub(crate) fn binary_tensor(datatype: DataType, shape: Shape, data: Bytes) -> Result<Tensor, TensorProblem> {
    let tensor = Tensor::new(datatype, shape, data)?;
    if datatype == DataType::Bool {
        check_flags(tensor.data())?;
    }
    Ok(tensor)
}

fn check_flags(flags: &[u8]) -> Result<(), TensorProblem> {
    // All bits of all bytes first: without an early exit this runs many bytes at a time.
    if flags.iter().fold(0, |bits, &flag| bits | flag) <= 1 {
        return Ok(());
    }
    match flags.iter().position(|&flag| flag > 1) {
        Some(index) => Err(TensorProblem::Bool { index, got: flags[index] }),
        None => Ok(()),
    }
}

/// A shape of signed dimensions, none of which may be negative.
pub(crate) fn shape_of(dimensions: &[i64]) -> Result<Shape, TensorProblem> {
    if dimensions.len() > MAX_RANK {
        return Err(TensorProblem::Rank { limit: MAX_RANK, got: dimensions.len() });
    }
    let extent = |(index, &value): (usize, &i64)| {
        usize::try_from(value).map_err(|_| TensorProblem::Dimension { index, got: value.to_string().into() })
    };
    dimensions.iter().enumerate().map(extent).collect()
}

/// The datatype of this name.
pub(crate) fn datatype_of(name: &str) -> Result<DataType, TensorProblem> {
    name.parse()
        .map_err(|_| TensorProblem::Datatype { got: crate::error::excerpt(name.as_bytes()) })
}

/// Refuses more tensors than are taken.
pub(crate) fn check_count(side: Side, count: usize) -> Parsed<()> {
    if count <= MAX_TENSORS {
        return Ok(());
    }
    Err(Box::new(Problem::TooMany { what: side.plural(), limit: MAX_TENSORS }))
}

/// Refuses a name that stands twice.
pub(crate) fn check_names<'a>(side: Side, names: impl Iterator<Item = &'a Name> + Clone) -> Parsed<()> {
    let count = names.clone().count();
    let twice = if count <= PAIRWISE {
        let repeated =
            |(index, name): &(usize, &Name)| names.clone().take(*index).any(|earlier| earlier == *name);
        names.clone().enumerate().find(repeated)
    } else {
        let mut seen = HashSet::with_capacity(count);
        names.enumerate().find(|(_, name)| !seen.insert(*name))
    };
    match twice {
        None => Ok(()),
        Some((index, name)) => Err(Box::new(Problem::DuplicateTensor {
            tensor: TensorLabel { side, index, name: Some(name.clone()) },
        })),
    }
}

/// The names of all inputs of a request, in shared memory or not.
pub(crate) fn input_names(request: &InferRequest) -> impl Iterator<Item = &Name> + Clone {
    let shared = request.shared_inputs.iter().map(|input| &input.name);
    request.inputs.iter().map(|input| &input.name).chain(shared)
}

/// A tensor of data that was decoded element by element: a wrong count is told in elements, not bytes.
pub(crate) fn counted(
    datatype: DataType,
    shape: Shape,
    data: Bytes,
    actual: usize,
) -> Result<Tensor, TensorProblem> {
    match shape.elements() {
        Some(expected) if expected != actual => {
            Err(TensorProblem::Elements { datatype, shape, expected, actual })
        }
        _ => Ok(Tensor::new(datatype, shape, data)?),
    }
}
