use std::sync::Arc;

use adulis_backend::TensorSpec;
use adulis_batcher::{ShapeBucket, ShapeClass};
use adulis_repository::Labels;
use adulis_tensor::{DataType, Tensor};
use adulis_types::{InputTensor, RequestedOutput};
use smallvec::SmallVec;

use crate::EngineError;
use crate::classification::classify;
use crate::job::JobInputs;
use crate::reshape::Reshapes;

/// What a model takes and gives, as its clients see it.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) model: Arc<str>,
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
    /// Which of them have another shape for the model itself.
    pub(crate) reshapes: Reshapes,
    /// Labels of each output's classes, where there are any; by index.
    pub(crate) labels: Vec<Option<Arc<Labels>>>,
    /// Rows that one request may carry; `None` for a model whose leading dimension is not a batch dimension.
    pub(crate) max_rows: Option<usize>,
}

/// A request that fits its model.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) inputs: JobInputs,
    /// Rows of the leading dimension; 1 for a model that does not batch.
    pub(crate) rows: usize,
    pub(crate) outputs: Selection,
}

/// Which outputs are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    All,
    These(SmallVec<[Selected; 4]>),
}

/// An output that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selected {
    /// Its index in the signature.
    pub(crate) index: usize,
    /// As many of its highest values as classes; 0 for the tensor itself.
    pub(crate) classes: usize,
}

impl Selection {
    /// Whether an output is wanted.
    pub(crate) fn has(&self, output: usize) -> bool {
        match self {
            Selection::All => true,
            Selection::These(wanted) => wanted.iter().any(|selected| selected.index == output),
        }
    }
}

impl Interface {
    /// Checks a request against the signature.
    ///
    /// # Errors
    /// The first thing that does not fit, naming the model and the input or output.
    pub(crate) fn admit(
        &self,
        inputs: Vec<InputTensor>,
        outputs: &[RequestedOutput],
    ) -> Result<Admitted, EngineError> {
        let mut matched = JobInputs::with_capacity(inputs.len().min(self.inputs.len()));
        for input in inputs {
            matched.push((self.match_input(&input, &matched)?, input.tensor));
        }
        matched.sort_unstable_by_key(|(index, _)| *index);
        self.check_missing(&matched)?;
        let rows = self.rows_of(&matched)?;
        self.reshape(&mut matched);
        Ok(Admitted { inputs: matched, rows, outputs: self.select(outputs)? })
    }

    /// Gives inputs the shape that the model itself has. The shapes that clients may send are those that can be.
    fn reshape(&self, inputs: &mut JobInputs) {
        for (index, shape_for_model) in self.reshapes.inputs() {
            if let Some((_, tensor)) = inputs.iter_mut().find(|(input, _)| *input == index)
                && let Some(shape) = shape_for_model(tensor.shape())
                && let Some(reshaped) = tensor.clone().reshaped(shape)
            {
                *tensor = reshaped;
            }
        }
    }

    /// An output, or as many of its highest values as classes, where that is wanted.
    pub(crate) fn classified(&self, index: usize, output: Tensor, classes: usize) -> Tensor {
        if classes == 0 {
            return output;
        }
        let labels = self.labels_of(index);
        // One without classes was refused when the request was admitted.
        classify(&output, self.max_rows.is_some(), classes, labels).unwrap_or(output)
    }

    /// The labels of an output's classes, where there are any.
    pub(crate) fn labels_of(&self, output: usize) -> Option<&Labels> {
        self.labels.get(output).and_then(Option::as_deref)
    }

    fn match_input(&self, input: &InputTensor, before: &JobInputs) -> Result<usize, EngineError> {
        let model = || self.model.clone();
        let Some(index) = self.inputs.iter().position(|spec| *spec.name == *input.name) else {
            let expected = names(&self.inputs);
            return Err(EngineError::UnknownInput { model: model(), input: input.name.clone(), expected });
        };
        if before.iter().any(|(other, _)| *other == index) {
            return Err(EngineError::DuplicateInput { model: model(), input: input.name.clone() });
        }
        let spec = &self.inputs[index];
        if spec.datatype != input.tensor.datatype() {
            return Err(EngineError::InputDatatype {
                model: model(),
                input: spec.name.clone(),
                expected: spec.datatype,
                actual: input.tensor.datatype(),
            });
        }
        if !spec.shape.matches(input.tensor.shape()) {
            return Err(EngineError::InputShape {
                model: model(),
                input: spec.name.clone(),
                expected: Box::new(spec.shape.clone()),
                actual: Box::new(input.tensor.shape().clone()),
            });
        }
        Ok(index)
    }

    fn check_missing(&self, matched: &JobInputs) -> Result<(), EngineError> {
        if matched.len() == self.inputs.len() {
            return Ok(());
        }
        let missing = self
            .inputs
            .iter()
            .enumerate()
            .find(|(index, spec)| !spec.optional && !matched.iter().any(|(other, _)| other == index));
        match missing {
            None => Ok(()),
            Some((_, spec)) => Err(EngineError::MissingInput {
                model: self.model.clone(),
                input: spec.name.clone(),
                datatype: spec.datatype,
                shape: Box::new(spec.shape.clone()),
            }),
        }
    }

    fn rows_of(&self, matched: &JobInputs) -> Result<usize, EngineError> {
        let Some(max) = self.max_rows else { return Ok(1) };
        let Some((first, tensor)) = matched.first() else {
            return Ok(1);
        };
        let model = || self.model.clone();
        let rows = tensor.shape().rows().unwrap_or(0);
        if rows == 0 {
            let (input, actual) = (self.inputs[*first].name.clone(), Box::new(tensor.shape().clone()));
            return Err(EngineError::NoRows { model: model(), input, actual });
        }
        if rows > max {
            return Err(EngineError::TooManyRows { model: model(), rows, max });
        }
        match matched.iter().find(|(_, tensor)| tensor.shape().rows() != Some(rows)) {
            None => Ok(rows),
            Some((index, tensor)) => Err(EngineError::InputRows {
                model: model(),
                input: self.inputs[*index].name.clone(),
                first: self.inputs[*first].name.clone(),
                expected: rows,
                actual: tensor.shape().rows().unwrap_or(0),
            }),
        }
    }

    fn select(&self, wanted: &[RequestedOutput]) -> Result<Selection, EngineError> {
        if wanted.is_empty() {
            return Ok(Selection::All);
        }
        let model = || self.model.clone();
        let mut selected = SmallVec::<[Selected; 4]>::new();
        for output in wanted {
            let Some(index) = self.outputs.iter().position(|spec| *spec.name == *output.name) else {
                let expected = names(&self.outputs);
                return Err(EngineError::UnknownOutput {
                    model: model(),
                    output: output.name.clone(),
                    expected,
                });
            };
            if selected.iter().any(|other| other.index == index) {
                return Err(EngineError::DuplicateOutput { model: model(), output: output.name.clone() });
            }
            let classes = output.classification;
            if classes > 0 && self.outputs[index].datatype == DataType::Bytes {
                return Err(EngineError::NoClasses { model: model(), output: output.name.clone() });
            }
            selected.push(Selected { index, classes });
        }
        Ok(Selection::These(selected))
    }
}

/// Requests of one class may share a batch: the same inputs, with the same dimensions after the first.
pub(crate) fn shape_class(inputs: &JobInputs) -> ShapeClass {
    inputs
        .iter()
        .flat_map(|(index, tensor)| {
            let dimensions = tensor.shape().row_dimensions();
            [*index, dimensions.len()].into_iter().chain(dimensions.iter().copied())
        })
        .map(|word| word as u64)
        .collect()
}

/// How large the rows of a request are, or the whole of it where the model has no rows: by the elements of all inputs.
pub(crate) fn shape_bucket(inputs: &JobInputs, has_rows: bool) -> ShapeBucket {
    let elements = |(_, tensor): &(usize, Tensor)| {
        let shape = tensor.shape();
        let dimensions = if has_rows { shape.row_dimensions() } else { shape };
        // One of nothing may have any other extents.
        dimensions.iter().fold(1, |product: usize, extent| product.saturating_mul(*extent))
    };
    ShapeBucket::of(inputs.iter().map(elements).fold(0, usize::saturating_add))
}

impl Interface {
    /// Whether requests differ in the size of their rows, or of the whole where there are none.
    pub(crate) fn varies(&self) -> bool {
        let first = usize::from(self.max_rows.is_some());
        self.inputs.iter().any(|input| input.shape.iter().skip(first).any(|extent| *extent < 0))
    }
}

fn names(specs: &[TensorSpec]) -> String {
    let names: Vec<String> = specs.iter().map(|spec| format!("'{}'", spec.name)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
