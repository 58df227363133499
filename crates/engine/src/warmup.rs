//! Runs before a model is ready: configured ones, which must succeed, and generated ones, which show whether the model
//! batches as it looks and how long a run takes.

use std::time::Duration;

use adulis_backend::{BatchInput, BatchRequest, Gone, Model, Responder, Response, ResponseSink, TensorSpec};
use adulis_batcher::CostModel;
use adulis_repository::{Warmup, WarmupData};
use adulis_tensor::{AlignedBuffer, DataType, Shape, Tensor};
use adulis_types::InputTensor;
use bytes::Bytes;

use crate::LoadError;
use crate::admission::Interface;
use crate::instance::{RunError, Slot};
use crate::padding::BatchSizes;
use crate::plan::Plan;

/// Largest generated warm-up tensor; a model that wants more is warmed by its first request.
const MAX_GENERATED_BYTES: usize = 64 << 20;

/// Runs of one row that seed the cost model. The first also pays for what engines put off until then.
const SEED_RUNS: usize = 3;

/// Runs the configured warm-up requests on an instance.
///
/// # Errors
/// [`LoadError::Warmup`] for the first that fails.
pub(crate) fn configured(
    warmups: &[Warmup],
    plan: &Plan,
    model: &dyn Model,
    slot: &mut Slot,
) -> Result<(), LoadError> {
    for warmup in warmups {
        let failed = |reason: String| LoadError::Warmup { name: warmup.name.clone(), reason };
        let inputs = configured_inputs(warmup, plan).map_err(failed)?;
        for _ in 0..warmup.count {
            warm(model, slot, &inputs).map_err(|error| failed(reason(error)))?;
        }
    }
    Ok(())
}

/// One run whose answers nobody wants.
fn warm(model: &dyn Model, slot: &mut Slot, inputs: &[BatchInput]) -> Result<(), RunError> {
    if model.is_decoupled() {
        return slot.respond(model, inputs, vec![Responder::new(BatchRequest::default(), Discarded)]);
    }
    slot.execute(model, inputs, &[]).map(drop)
}

/// Takes answers and forgets them.
struct Discarded;

impl ResponseSink for Discarded {
    fn send(&mut self, _: Response, _: bool) -> Result<(), Gone> {
        Ok(())
    }

    fn end(&mut self, _: Result<(), String>) {}

    fn is_gone(&self) -> bool {
        false
    }
}

/// Tries a derived batch dimension and seeds the cost model. Gives back the plan, without batching where the model
/// does not give as many rows as it takes.
pub(crate) fn generated(mut plan: Plan, model: &dyn Model, slot: &mut Slot) -> (Plan, CostModel) {
    let mut cost = CostModel::new();
    if plan.unproven && !model.is_decoupled() {
        if !batches(&plan, model, slot) {
            plan = plan.without_batching();
        }
        plan.unproven = false;
    }
    if model.is_decoupled() {
        // How long a run takes is up to its requests.
        return (plan, cost);
    }
    for _ in 0..SEED_RUNS {
        match run_rows(&plan, model, slot, 1) {
            Ok((infer, _)) => cost.observe(1, infer),
            // Generated inputs may be nonsense to the model; that says nothing about real ones.
            Err(_) => break,
        }
    }
    (plan, cost)
}

/// Has each slot pad its batches from now on, and makes and warms its instance of every size. One that can't be warmed is made
/// when it is first needed: generated inputs may be nonsense to the model, or too large.
pub(crate) fn sizes(plan: &Plan, model: &dyn Model, slots: &mut [Slot], sizes: &BatchSizes) {
    for slot in slots {
        slot.pad_to(sizes);
        for &rows in sizes.all() {
            if let Err(error) = run_rows(plan, model, slot, rows) {
                tracing::debug!(rows, reason = reason(error), "no warm-up of this batch size");
            }
        }
    }
}

/// Whether two rows in give two rows out, on every output.
fn batches(plan: &Plan, model: &dyn Model, slot: &mut Slot) -> bool {
    match run_rows(plan, model, slot, 2) {
        Ok((_, outputs)) => outputs.iter().all(|output| output.shape().rows() == Some(2)),
        // One row may work where two do not: then the leading dimension is no batch dimension. If neither works, the
        // generated values are to blame and the declaration stands.
        Err(_) => run_rows(plan, model, slot, 1).is_err(),
    }
}

fn run_rows(
    plan: &Plan,
    model: &dyn Model,
    slot: &mut Slot,
    rows: usize,
) -> Result<(Duration, Vec<Tensor>), RunError> {
    let inputs = generated_inputs(plan, rows).map_err(RunError::Failed)?;
    let execution = slot.execute(model, &inputs, &[])?;
    Ok((execution.infer, execution.outputs))
}

/// The smallest request that a model takes, all zeros; optional inputs left out.
pub(crate) fn trivial(interface: &Interface) -> Result<Vec<InputTensor>, String> {
    let required = interface.inputs.iter().filter(|spec| !spec.optional);
    let input = |spec: &TensorSpec| {
        let tensor = zeros(spec.datatype, spec.shape.fill(1))?;
        Ok(InputTensor { name: (&*spec.name).into(), tensor })
    };
    required.map(input).collect()
}

fn generated_inputs(plan: &Plan, rows: usize) -> Result<Vec<BatchInput>, String> {
    let filled_in =
        plan.sequences.as_ref().map(|sequences| sequences.warmup_inputs(rows)).unwrap_or_default();
    let required = plan.inputs.iter().enumerate().filter(|(_, spec)| !spec.optional);
    required
        .map(|(index, spec)| {
            if let Some(input) = filled_in.iter().find(|input| input.index == index) {
                return Ok(input.clone());
            }
            let mut shape = spec.shape.fill(1);
            if plan.max_rows.is_some() {
                shape = shape.with_rows(rows);
            }
            Ok(batch_input(index, spec, zeros(spec.datatype, shape)?))
        })
        .collect()
}

fn configured_inputs(warmup: &Warmup, plan: &Plan) -> Result<Vec<BatchInput>, String> {
    let rows = warmup.batch_size.max(1);
    let mut inputs = generated_inputs(plan, rows)?;
    for wanted in &warmup.inputs {
        let found = plan.inputs.iter().enumerate().find(|(_, spec)| *spec.name == wanted.name);
        let (index, spec) = found.ok_or_else(|| format!("the model has no input '{}'", wanted.name))?;
        let dims = wanted
            .dims
            .iter()
            .map(|&dim| usize::try_from(dim).map_err(|_| "a negative dimension".to_owned()));
        let mut shape: Vec<usize> = dims.collect::<Result<_, _>>()?;
        if plan.max_rows.is_some() {
            shape.insert(0, rows);
        }
        let shape = plan.reshapes.input(index, Shape::new(&shape));
        if wanted.datatype != spec.datatype || !spec.shape.matches(&shape) {
            return Err(format!(
                "input '{}' is {} {shape}, the model takes {} {}",
                wanted.name, wanted.datatype, spec.datatype, spec.shape
            ));
        }
        let tensor = match &wanted.data {
            WarmupData::Zero => zeros(wanted.datatype, shape)?,
            WarmupData::Random => random(wanted.datatype, shape)?,
            WarmupData::File(path) => {
                let row = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
                let repeats = if plan.max_rows.is_some() { rows } else { 1 };
                tensor(wanted.datatype, shape, row.repeat(repeats).into())?
            }
        };
        inputs.retain(|input| input.index != index);
        inputs.push(batch_input(index, spec, tensor));
    }
    inputs.sort_by_key(|input| input.index);
    Ok(inputs)
}

fn batch_input(index: usize, spec: &TensorSpec, tensor: Tensor) -> BatchInput {
    let (datatype, shape) = (tensor.datatype(), tensor.shape().clone());
    BatchInput { index, name: spec.name.clone(), datatype, shape, parts: vec![tensor] }
}

fn byte_length(datatype: DataType, shape: &Shape) -> Result<usize, String> {
    crate::zeros::byte_length(datatype, shape)
        .filter(|bytes| *bytes <= MAX_GENERATED_BYTES)
        .ok_or_else(|| format!("{datatype} {shape} is too large"))
}

fn zeros(datatype: DataType, shape: Shape) -> Result<Tensor, String> {
    let data = AlignedBuffer::zeroed(byte_length(datatype, &shape)?);
    tensor(datatype, shape, Bytes::from_owner(data))
}

/// Values between 0 and 127 as integers, and around 1 as floating point: the byte pattern is made to be valid for
/// every datatype. Seeded: every start runs the same.
fn random(datatype: DataType, shape: Shape) -> Result<Tensor, String> {
    let mut data = AlignedBuffer::zeroed(byte_length(datatype, &shape)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0] & 0x7f
    };
    match datatype {
        DataType::Bytes => {}
        DataType::Bool => data.iter_mut().for_each(|byte| *byte = next() & 1),
        DataType::Fp16 => data.chunks_exact_mut(2).for_each(|two| two.copy_from_slice(&[next(), 0x3c])),
        DataType::Bf16 => data.chunks_exact_mut(2).for_each(|two| two.copy_from_slice(&[next(), 0x3f])),
        DataType::Fp32 => {
            data.chunks_exact_mut(4).for_each(|four| four.copy_from_slice(&[0, 0, next(), 0x3f]));
        }
        DataType::Fp64 => {
            data.chunks_exact_mut(8)
                .for_each(|eight| eight[5..].copy_from_slice(&[next(), 0xf0, 0x3f]));
        }
        _ => {
            let size = datatype.size_bytes().unwrap_or(1);
            data.chunks_exact_mut(size).for_each(|element| element[0] = next());
        }
    }
    tensor(datatype, shape, Bytes::from_owner(data))
}

fn tensor(datatype: DataType, shape: Shape, data: Bytes) -> Result<Tensor, String> {
    Tensor::new(datatype, shape, data).map_err(|error| error.to_string())
}

fn reason(error: RunError) -> String {
    match error {
        RunError::Failed(reason) | RunError::Broken(reason) | RunError::Refused(reason) => reason,
        RunError::Interrupted => "the run was interrupted".to_owned(),
        RunError::Panicked(reason) => format!("the backend panicked: {reason}"),
    }
}
