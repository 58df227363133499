//! Tensors between the steps of an ensemble.

use std::sync::Arc;

use adulis_repository::Labels;
use adulis_tensor::{Shape, ShapePattern, Tensor};
use adulis_types::{InferResponse, InputTensor, OutputTensor};

use super::Ensemble;
use super::flow::Flow;
use crate::EngineError;
use crate::admission::{Interface, Selected, Selection};
use crate::classification::classify;
use crate::serving::ServingModel;

/// A tensor between steps. It shares its data with what made it.
#[derive(Clone)]
pub(super) struct Carried {
    tensor: Tensor,
    /// Whether its leading dimension is a batch dimension.
    batches: bool,
}

impl Ensemble {
    /// Tells the flow what the request brought, and which optional inputs it left out.
    pub(super) fn begin(&self, flow: &mut Flow<'_, Carried>, inputs: Vec<(usize, Tensor)>, batches: bool) {
        let mut inputs = inputs.into_iter().peekable();
        for tensor in 0..self.graph.inputs {
            let given = inputs.next_if(|(index, _)| *index == tensor);
            flow.set(tensor, given.map(|(_, tensor)| Carried { tensor, batches }));
        }
    }

    /// Tells the flow what a step's model gave.
    pub(super) fn give(
        &self,
        step: usize,
        model: &ServingModel,
        response: InferResponse,
        flow: &mut Flow<'_, Carried>,
    ) {
        let batches = model.served.interface.max_rows.is_some();
        let outputs = response.outputs.into_iter().map(|output| Carried { tensor: output.tensor, batches });
        for ((_, tensor), value) in self.graph.steps[step].outputs.iter().zip(outputs) {
            flow.set(*tensor, Some(value));
        }
    }

    /// What a step is given, without what is not there.
    pub(super) fn inputs(
        &self,
        step: usize,
        flow: &mut Flow<'_, Carried>,
        model: &ServingModel,
    ) -> Vec<InputTensor> {
        let interface = &model.served.interface;
        let mapped = self.graph.steps[step].inputs.iter().filter_map(|(name, tensor)| {
            let carried = flow.take(*tensor)?;
            let spec = interface.inputs.iter().find(|spec| *spec.name == **name)?;
            let tensor = carried.fitted(interface.max_rows.is_some(), &spec.shape);
            Some(InputTensor { name: name.clone(), tensor })
        });
        mapped.collect()
    }

    /// What was asked for, in the order in which it was.
    pub(super) fn outputs(
        &self,
        interface: &Interface,
        models: &[Arc<ServingModel>],
        selection: &Selection,
        flow: &mut Flow<'_, Carried>,
    ) -> Result<Vec<OutputTensor>, EngineError> {
        let mut output = |Selected { index, classes }| {
            let spec = &interface.outputs[index];
            let carried = flow.take(self.graph.outputs[index]).ok_or_else(|| EngineError::Execution {
                model: interface.model.clone(),
                reason: format!("no step gave output '{}'", spec.name),
            })?;
            let batches = interface.max_rows.is_some();
            let tensor = carried.fitted(batches, &spec.shape);
            let tensor = self.classified(interface, models, (index, tensor, classes));
            Ok(OutputTensor::new(spec.name.clone(), tensor))
        };
        match selection {
            Selection::All => {
                let all = 0..self.graph.outputs.len();
                all.map(|index| output(Selected { index, classes: 0 })).collect()
            }
            Selection::These(wanted) => wanted.iter().map(|selected| output(*selected)).collect(),
        }
    }

    /// An output, or as many of its highest values as classes, where that is wanted.
    pub(super) fn classified(
        &self,
        interface: &Interface,
        models: &[Arc<ServingModel>],
        (index, output, classes): (usize, Tensor, usize),
    ) -> Tensor {
        if classes == 0 {
            return output;
        }
        let labels = interface.labels_of(index).or_else(|| self.labels_of(index, models));
        // One without classes was refused when the request was admitted.
        classify(&output, interface.max_rows.is_some(), classes, labels).unwrap_or(output)
    }

    /// The labels that the model which makes an output has for it.
    fn labels_of<'m>(&self, output: usize, models: &'m [Arc<ServingModel>]) -> Option<&'m Labels> {
        let tensor = self.graph.outputs[output];
        let maker = self.graph.tensors[tensor].maker?;
        let (name, _) = self.graph.steps[maker].outputs.iter().find(|(_, made)| *made == tensor)?;
        let interface = &models[maker].served.interface;
        let index = interface.outputs.iter().position(|spec| *spec.name == **name)?;
        interface.labels_of(index)
    }
}

impl Carried {
    /// The tensor for one that takes it: where only one of the two has a batch dimension, a single row gets or loses it,
    /// unless the tensor fits as a whole. What does not fit then, who takes it refuses.
    fn fitted(self, batches: bool, pattern: &ShapePattern) -> Tensor {
        let shape = self.tensor.shape();
        let fitted: Option<Shape> = match (self.batches, batches) {
            (false, true) if ShapePattern::new(pattern.get(1..).unwrap_or_default()).matches(shape) => {
                Some(std::iter::once(1).chain(shape.iter().copied()).collect())
            }
            (true, false) if shape.rows() == Some(1) && !pattern.matches(shape) => {
                Some(shape.row_dimensions().iter().copied().collect())
            }
            _ => None,
        };
        match fitted {
            None => self.tensor,
            // A dimension of one more or less is the same number of elements.
            Some(fitted) => self.tensor.clone().reshaped(fitted).unwrap_or(self.tensor),
        }
    }
}
