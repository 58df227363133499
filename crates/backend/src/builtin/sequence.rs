#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use bytes::Bytes;

use super::behaviour::Behaviour;
use super::gather;
use crate::{
    Backend, BackendError, BatchInput, Batching, Execution, LoadRequest, Model, ModelInstance,
    ModelSignature, TensorSpec,
};

/// The built-in `sequence` backend: a running sum for each sequence.
///
/// The output `OUTPUT` (INT32) is the sum of the `INPUT`s (INT32, of the same shape) of the sequence so far, element by
/// element. Without a declared signature both are `[-1, 1]`. Inputs with one element per row say where in a sequence a row
/// stands, as the control inputs of those names do, with 0 for false: `START` begins at nothing, rows that are not `READY`
/// are left out and give 0, and at `END` the whole number `CORRID` is added to the output where there is one (a text that is
/// no number counts as 0).
///
/// What it adds up it keeps by `CORRID`, or without one by row; or not at all, where it has an input `INPUT_STATE` and an
/// output `OUTPUT_STATE` of INT32: the sum so far comes in by the one and goes out by the other.
///
/// The delays and faults of the `identity` backend's parameters are there too.
#[derive(Debug, Default)]
pub struct Sequence;

const NAME: &str = "sequence";
const INPUT: &str = "INPUT";
const OUTPUT: &str = "OUTPUT";
const INPUT_STATE: &str = "INPUT_STATE";
const OUTPUT_STATE: &str = "OUTPUT_STATE";
/// The inputs that it knows.
const INPUTS: [&str; 6] = [INPUT, "START", "READY", "END", "CORRID", INPUT_STATE];

/// Most sequences that an instance keeps the sums of: the one not asked for longest is forgotten.
const MAX_SEQUENCES: usize = 1 << 16;

impl Backend for Sequence {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let signature = request.declared.clone().unwrap_or_else(default_signature);
        check(&signature).map_err(|what| BackendError::Unsupported { what })?;
        let behaviour = Behaviour::from_options(request)?;
        Ok(Arc::new(Accumulator { signature, behaviour }))
    }
}

fn default_signature() -> ModelSignature {
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        datatype: DataType::Int32,
        shape: ShapePattern::new(&[-1, 1]),
        optional: false,
    };
    ModelSignature {
        inputs: vec![spec(INPUT)],
        outputs: vec![spec(OUTPUT)],
        batching: Batching::Possible,
    }
}

fn check(signature: &ModelSignature) -> Result<(), String> {
    let odd = signature.inputs.iter().find(|spec| !INPUTS.contains(&&*spec.name));
    if let Some(spec) = odd {
        return Err(format!("sequence with an input '{}': it knows {}", spec.name, INPUTS.join(", ")));
    }
    for (specs, names) in [
        (&signature.inputs, [INPUT, INPUT_STATE]),
        (&signature.outputs, [OUTPUT, OUTPUT_STATE]),
    ] {
        let summed = |spec: &&TensorSpec| names.contains(&&*spec.name);
        if let Some(spec) = specs.iter().filter(summed).find(|spec| spec.datatype != DataType::Int32) {
            return Err(format!("sequence with '{}' of {}: it takes INT32", spec.name, spec.datatype));
        }
        if !specs.iter().any(|spec| *spec.name == *names[0]) {
            return Err(format!("sequence without '{}'", names[0]));
        }
    }
    if let Some(spec) = signature.outputs.iter().find(|spec| ![OUTPUT, OUTPUT_STATE].contains(&&*spec.name)) {
        return Err(format!("sequence with an output '{}': it gives {OUTPUT} and {OUTPUT_STATE}", spec.name));
    }
    Ok(())
}

struct Accumulator {
    signature: ModelSignature,
    behaviour: Behaviour,
}

impl Model for Accumulator {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "built in".to_owned()
    }

    fn keeps_state(&self) -> bool {
        !self.signature.inputs.iter().any(|spec| *spec.name == *INPUT_STATE)
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        let outputs = self.signature.outputs.iter().map(|spec| Arc::clone(&spec.name)).collect();
        let batches = self.signature.batching == Batching::Possible;
        Ok(Box::new(Instance {
            outputs,
            batches,
            behaviour: self.behaviour,
            sums: HashMap::new(),
            uses: 0,
        }))
    }
}

struct Instance {
    outputs: Vec<Arc<str>>,
    batches: bool,
    behaviour: Behaviour,
    /// By correlation id or row, with a number that tells when it was last used.
    sums: HashMap<Vec<u8>, (u64, Vec<i32>)>,
    uses: u64,
}

impl ModelInstance for Instance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let started = Instant::now();
        self.behaviour.misbehave(inputs)?;
        let (shape, totals, states) = self.add_up(&Columns::read(inputs)?);
        let outputs = self.outputs.iter().map(|name| {
            let values = if **name == *OUTPUT { &totals } else { &states };
            let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Tensor::new(DataType::Int32, shape.clone(), Bytes::from(data))
                .map_err(|error| BackendError::Execution { reason: error.to_string() })
        });
        let outputs = outputs.collect::<Result<_, _>>()?;
        Ok(Execution { outputs, infer: started.elapsed(), ..Execution::default() })
    }
}

impl Instance {
    /// The shape of the outputs, what is answered, and the sums that go on.
    fn add_up(&mut self, columns: &Columns) -> (Shape, Vec<i32>, Vec<i32>) {
        let shape = columns.input.shape().clone();
        let rows = if self.batches { shape.rows().unwrap_or(1) } else { 1 };
        let values = integers(&columns.input);
        let width = values.len().checked_div(rows).unwrap_or(0);
        let mut totals = vec![0; values.len()];
        let mut states = totals.clone();
        for row in (0..rows).filter(|row| columns.flag(columns.ready.as_ref(), *row, true)) {
            let place = row * width..(row + 1) * width;
            let mut sum = self.before(columns, row, place.clone());
            for (sum, value) in sum.iter_mut().zip(&values[place.clone()]) {
                *sum = sum.wrapping_add(*value);
            }
            let ends = columns.flag(columns.end.as_ref(), row, false);
            let extra = if ends { columns.number(row) } else { 0 };
            for (total, sum) in totals[place.clone()].iter_mut().zip(&sum) {
                *total = sum.wrapping_add(extra);
            }
            states[place].copy_from_slice(&sum);
            if columns.state.is_none() {
                self.keep(columns.key(row), sum, ends);
            }
        }
        (shape, totals, states)
    }

    /// The sum before this row.
    fn before(&self, columns: &Columns, row: usize, place: std::ops::Range<usize>) -> Vec<i32> {
        let nothing = vec![0; place.len()];
        if columns.flag(columns.start.as_ref(), row, false) {
            return nothing;
        }
        if let Some(state) = &columns.state {
            return integers(state).get(place).map_or(nothing, <[i32]>::to_vec);
        }
        let kept = self.sums.get(&columns.key(row)).map(|(_, sum)| sum.clone());
        kept.filter(|sum| sum.len() == nothing.len()).unwrap_or(nothing)
    }

    fn keep(&mut self, key: Vec<u8>, sum: Vec<i32>, ends: bool) {
        if ends {
            self.sums.remove(&key);
            return;
        }
        if self.sums.len() >= MAX_SEQUENCES && !self.sums.contains_key(&key) {
            let oldest = self.sums.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.sums.remove(&oldest));
        }
        self.uses += 1;
        self.sums.insert(key, (self.uses, sum));
    }
}

/// The inputs of one run, each whole.
struct Columns {
    input: Tensor,
    start: Option<Tensor>,
    ready: Option<Tensor>,
    end: Option<Tensor>,
    id: Option<Tensor>,
    state: Option<Tensor>,
}

impl Columns {
    fn read(inputs: &[BatchInput]) -> Result<Self, BackendError> {
        let find = |name: &str| inputs.iter().find(|input| *input.name == *name).map(gather).transpose();
        let input = find(INPUT)?.ok_or_else(|| BackendError::Execution { reason: format!("no {INPUT}") })?;
        Ok(Self {
            input,
            start: find("START")?,
            ready: find("READY")?,
            end: find("END")?,
            id: find("CORRID")?,
            state: find(INPUT_STATE)?,
        })
    }

    /// Whether the element of a row is anything but zero; `absent` where there is none.
    fn flag(&self, column: Option<&Tensor>, row: usize, absent: bool) -> bool {
        let element = column.and_then(|column| element(column, row));
        element.map_or(absent, |element| element.iter().any(|byte| *byte != 0))
    }

    /// By what the sum of a row is kept.
    fn key(&self, row: usize) -> Vec<u8> {
        let id = self.id.as_ref().and_then(|id| element(id, row));
        id.unwrap_or_else(|| row.to_le_bytes().to_vec())
    }

    /// The correlation id as a number.
    fn number(&self, row: usize) -> i32 {
        let Some(id) = &self.id else { return 0 };
        let element = element(id, row).unwrap_or_default();
        if id.datatype() == DataType::Bytes {
            return std::str::from_utf8(&element).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        }
        element.first_chunk().copied().map_or(0, i32::from_le_bytes)
    }
}

/// The bytes of a row's one element.
fn element(column: &Tensor, row: usize) -> Option<Vec<u8>> {
    match column.datatype().size_bytes() {
        Some(size) => column.data().chunks_exact(size).nth(row).map(<[u8]>::to_vec),
        None => column.bytes_elements().nth(row).map(<[u8]>::to_vec),
    }
}

fn integers(tensor: &Tensor) -> Vec<i32> {
    let chunks = tensor.data().chunks_exact(size_of::<i32>());
    chunks.map(|chunk| chunk.first_chunk().copied().map_or(0, i32::from_le_bytes)).collect()
}
