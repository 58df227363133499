#[cfg(test)]
mod tests;

use std::fs;
use std::sync::Arc;

use adulis_backend::{BatchInput, TensorSpec};
use adulis_batcher::{SequencePolicy, SequenceStrategy};
use adulis_repository as repository;
use adulis_repository::{ControlKind, InitialData, SequenceBatching, SequenceState};
use adulis_tensor::{AlignedBuffer, DataType, Shape, ShapePattern, Tensor};
use adulis_types::SequenceId;
use bytes::Bytes;

use super::batch::side_by_side;
use super::controls::{Control, Row};
use crate::zeros::byte_length;
use crate::{LoadError, Settings};

/// Largest state that a sequence begins with.
const MAX_INITIAL_BYTES: usize = 1 << 30;

/// How the requests of a model's sequences are served.
#[derive(Debug, Clone)]
pub(crate) struct SequencePlan {
    /// Of each input that requests have, its index in the signature.
    pub(crate) inputs: Vec<usize>,
    /// Of each output that responses have, its index in the signature.
    pub(crate) outputs: Vec<usize>,
    /// Outputs in the signature.
    pub(crate) all_outputs: usize,
    pub(crate) controls: Vec<Control>,
    pub(crate) states: Vec<State>,
    pub(crate) policy: SequencePolicy,
    pub(crate) preserve_ordering: bool,
    /// Whether the leading dimension is the batch: a row for each sequence.
    pub(crate) batches: bool,
    /// A sequence has its row for as long as it is open (the direct strategy), so that rows of others go along empty.
    pub(crate) has_fixed_rows: bool,
}

/// A tensor that is kept from one request of a sequence to the next.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// Its index among the signature's inputs.
    pub(crate) input: usize,
    /// Its index among the signature's outputs.
    pub(crate) output: usize,
    pub(crate) input_name: Arc<str>,
    pub(crate) output_name: Arc<str>,
    pub(crate) datatype: DataType,
    /// The shape of one row, batch dimension included if there is one.
    pub(crate) shape: ShapePattern,
    /// What a sequence begins with: one row.
    pub(crate) initial: Tensor,
}

/// The model as it is without sequences, for [`SequencePlan::derive`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model<'a> {
    /// All inputs and outputs of the signature.
    pub(crate) inputs: &'a [TensorSpec],
    pub(crate) outputs: &'a [TensorSpec],
    /// Outputs that the configuration declares: they are answered even if they are states.
    pub(crate) declared_outputs: &'a [repository::TensorConfig],
    pub(crate) max_rows: Option<usize>,
    pub(crate) instances: usize,
}

/// What the configuration tells of the inputs and outputs that requests don't have, for models that carry no signature:
/// whole shapes, as the model is to have them.
pub(crate) fn hidden(batching: &SequenceBatching, batches: bool) -> (Vec<TensorSpec>, Vec<TensorSpec>) {
    let spec = |name: &str, datatype, dims: &[i64]| {
        let shape = ShapePattern::new(dims);
        let shape = if batches { shape.prepend(-1) } else { shape };
        TensorSpec { name: name.into(), datatype, shape, optional: false }
    };
    let controls = batching.control_inputs.iter();
    let controls = controls.map(|control| spec(&control.name, control.kind.datatype(), &[1]));
    let states = batching.states.iter();
    let inputs = states.clone().map(|state| spec(&state.input_name, state.datatype, &state.dims));
    let outputs = states.map(|state| spec(&state.output_name, state.datatype, &state.dims));
    (controls.chain(inputs).collect(), outputs.collect())
}

impl SequencePlan {
    /// Derives the plan.
    ///
    /// # Errors
    /// [`LoadError::Configuration`] where configuration and model disagree, or the file of an initial state cannot be read.
    pub(crate) fn derive(
        batching: &SequenceBatching,
        model: Model<'_>,
        settings: &Settings,
    ) -> Result<Self, LoadError> {
        let controls = controls(batching, model)?;
        let states = states(batching, model)?;
        let is_filled_in = |index: &usize| {
            controls.iter().any(|control| control.index == *index)
                || states.iter().any(|state| state.input == *index)
        };
        let is_kept = |index: &usize| {
            let name = &*model.outputs[*index].name;
            states.iter().any(|state| state.output == *index)
                && !model.declared_outputs.iter().any(|output| output.name == name)
        };
        let (strategy, slots, preserve_ordering) = strategy(&batching.strategy, model.max_rows);
        Ok(Self {
            inputs: (0..model.inputs.len()).filter(|index| !is_filled_in(index)).collect(),
            outputs: (0..model.outputs.len()).filter(|index| !is_kept(index)).collect(),
            all_outputs: model.outputs.len(),
            batches: model.max_rows.is_some(),
            has_fixed_rows: matches!(strategy, SequenceStrategy::Direct { .. }),
            policy: SequencePolicy {
                instances: model.instances,
                slots,
                strategy,
                max_idle: batching.max_sequence_idle,
                max_queued_requests: settings.max_queued_rows,
            },
            preserve_ordering,
            controls,
            states,
        })
    }

    /// What the server fills in for warm-up: each row is a whole sequence, of one request, so that none stays behind.
    pub(crate) fn warmup_inputs(&self, rows: usize) -> Vec<BatchInput> {
        let id = SequenceId::Number(0);
        let row = vec![Some(Row { start: true, end: true, id: &id }); rows];
        let states = self.states.iter().map(|state| {
            let parts = vec![state.initial.clone(); rows];
            side_by_side(state.input, &state.input_name, parts, self.batches)
        });
        self.controls.iter().map(|control| control.input(&row)).chain(states).collect()
    }

    /// The datatype that correlation ids have in the model, if it is told them.
    pub(crate) fn id_datatype(&self) -> Option<DataType> {
        self.controls.iter().find_map(|control| match control.kind {
            ControlKind::CorrelationId(datatype) => Some(datatype),
            _ => None,
        })
    }
}

fn strategy(
    configured: &repository::SequenceStrategy,
    max_rows: Option<usize>,
) -> (SequenceStrategy, usize, bool) {
    match configured {
        repository::SequenceStrategy::Direct { max_queue_delay, minimum_slot_utilization } => {
            let strategy = SequenceStrategy::Direct {
                max_queue_delay: *max_queue_delay,
                minimum_slot_utilization: *minimum_slot_utilization,
            };
            (strategy, max_rows.unwrap_or(1), false)
        }
        repository::SequenceStrategy::Oldest {
            max_candidate_sequences,
            preferred_batch_size,
            max_queue_delay,
            preserve_ordering,
        } => {
            let strategy = SequenceStrategy::Oldest {
                max_batch_size: max_rows.unwrap_or(1),
                preferred_batch_sizes: preferred_batch_size.clone(),
                max_queue_delay: *max_queue_delay,
            };
            (strategy, *max_candidate_sequences, *preserve_ordering)
        }
    }
}

fn controls(batching: &SequenceBatching, model: Model<'_>) -> Result<Vec<Control>, LoadError> {
    let controls = batching.control_inputs.iter();
    let control = |control: &repository::SequenceControl| {
        let key = format!("sequence_batching control input '{}'", control.name);
        let index = find(&key, "input", &control.name, model.inputs)?;
        let spec = &model.inputs[index];
        let datatype = control.kind.datatype();
        if spec.datatype != datatype {
            let reason = format!("configured as {datatype}, the model has {}", spec.datatype);
            return Err(disagree(&key, reason));
        }
        // One element per row; some models leave out the dimension of extent 1.
        let shapes: [&[usize]; 2] = if model.max_rows.is_some() { [&[1, 1], &[1]] } else { [&[1], &[]] };
        let Some(row) = shapes.into_iter().find(|shape| spec.shape.matches(shape)) else {
            let reason = format!("the model has {}: it does not take one element for each row", spec.shape);
            return Err(disagree(&key, reason));
        };
        Ok(Control { index, name: Arc::clone(&spec.name), kind: control.kind, row: Shape::new(row) })
    };
    controls.map(control).collect()
}

fn states(batching: &SequenceBatching, model: Model<'_>) -> Result<Vec<State>, LoadError> {
    let (_, outputs) = hidden(batching, model.max_rows.is_some());
    let states = batching.states.iter().zip(outputs);
    states.map(|(state, whole)| one_state(state, &whole.shape, model)).collect()
}

fn one_state(state: &SequenceState, whole: &ShapePattern, model: Model<'_>) -> Result<State, LoadError> {
    let key = format!("sequence_batching state '{}'", state.input_name);
    let input = find(&key, "input", &state.input_name, model.inputs)?;
    let output = find(&key, "output", &state.output_name, model.outputs)?;
    for spec in [&model.inputs[input], &model.outputs[output]] {
        let agrees = whole.len() == spec.shape.len()
            && whole.iter().zip(spec.shape.iter()).all(|(a, b)| a == b || *a < 0 || *b < 0);
        if spec.datatype != state.datatype || !agrees {
            let (have, want) = ((spec.datatype, &spec.shape), (state.datatype, whole));
            let reason = format!(
                "configured as {} {}, but '{}' of the model is {} {}",
                want.0, want.1, spec.name, have.0, have.1
            );
            return Err(disagree(&key, reason));
        }
    }
    // What the configuration leaves open is as the model has it.
    let narrowed: Vec<i64> =
        whole.iter().zip(model.inputs[input].shape.iter()).map(|(a, b)| *a.max(b)).collect();
    let shape = ShapePattern::new(&narrowed);
    let initial = initial(&key, state, &shape, model.max_rows.is_some())?;
    if !shape.matches(initial.shape()) {
        let reason = format!("the initial state is {}, the model takes {shape}", initial.shape());
        return Err(disagree(&key, reason));
    }
    Ok(State {
        input,
        output,
        input_name: Arc::clone(&model.inputs[input].name),
        output_name: Arc::clone(&model.outputs[output].name),
        datatype: state.datatype,
        shape,
        initial,
    })
}

/// One row of the state that a sequence begins with.
fn initial(
    key: &str,
    state: &SequenceState,
    whole: &ShapePattern,
    batches: bool,
) -> Result<Tensor, LoadError> {
    let shape = match &state.initial {
        Some(initial) if batches => ShapePattern::new(&initial.dims).prepend(1).fill(1),
        Some(initial) => ShapePattern::new(&initial.dims).fill(1),
        None if batches => whole.fill(1).with_rows(1),
        None => whole.fill(1),
    };
    let data = match state.initial.as_ref().map(|initial| &initial.data) {
        Some(InitialData::File(path)) => {
            let read = fs::read(path);
            Bytes::from(read.map_err(|error| disagree(key, format!("{}: {error}", path.display())))?)
        }
        Some(InitialData::Zero) | None => {
            let bytes = byte_length(state.datatype, &shape).filter(|bytes| *bytes <= MAX_INITIAL_BYTES);
            let too_large = || disagree(key, format!("{} {shape} is too large", state.datatype));
            Bytes::from_owner(AlignedBuffer::zeroed(bytes.ok_or_else(too_large)?))
        }
    };
    Tensor::new(state.datatype, shape, data)
        .map_err(|error| disagree(key, format!("the initial state: {error}")))
}

fn find(key: &str, side: &str, name: &str, specs: &[TensorSpec]) -> Result<usize, LoadError> {
    specs.iter().position(|spec| *spec.name == *name).ok_or_else(|| {
        let names: Vec<&str> = specs.iter().map(|spec| &*spec.name).collect();
        disagree(key, format!("the model has no {side} '{name}'; it has {}", names.join(", ")))
    })
}

fn disagree(key: &str, reason: String) -> LoadError {
    LoadError::Configuration { key: key.to_owned(), reason }
}
