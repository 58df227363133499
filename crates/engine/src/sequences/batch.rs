use std::sync::Arc;
use std::time::Duration;

use adulis_backend::{BatchInput, Execution};
use adulis_tensor::Tensor;
use adulis_types::{SequenceId, StageTimings};
use smallvec::SmallVec;

use super::SequencePlan;
use super::controls::Row;
use super::states::kept;
use crate::instance::{RunError, Slot};
use crate::instances::Instances;
use crate::job::JobInputs;
use crate::run::Run;
use crate::zeros::zeros;

/// A request of a batch.
pub(super) struct Member {
    /// The slot of its sequence.
    pub(super) slot: usize,
    /// Its row, where sequences have fixed rows.
    pub(super) row: usize,
    pub(super) start: bool,
    pub(super) end: bool,
    pub(super) id: SequenceId,
    pub(super) inputs: JobInputs,
    /// One row for each state.
    pub(super) states: Vec<Tensor>,
}

/// What a run gave one member.
pub(super) struct Done {
    /// The outputs that responses have.
    pub(super) outputs: Vec<Tensor>,
    /// One row for each state.
    pub(super) states: Vec<Tensor>,
    pub(super) timings: StageTimings,
}

/// Members that run together if their states are of the same shapes, by index.
pub(super) type Group = SmallVec<[usize; 8]>;

/// A batch of requests of different sequences, all of one shape class.
pub(super) struct SequenceRun<'a> {
    pub(super) instances: &'a Instances,
    pub(super) plan: &'a SequencePlan,
    pub(super) members: &'a [Member],
    /// Rows of the batch, where sequences have fixed rows.
    pub(super) rows: usize,
}

/// Where the members of one run stand in it.
struct Layout<'a> {
    /// The request in each row.
    rows: Vec<Option<&'a Member>>,
    /// The row of each member.
    places: Group,
}

impl SequenceRun<'_> {
    /// The members by the shapes of their states.
    pub(super) fn groups(&self) -> SmallVec<[Group; 1]> {
        let mut groups = SmallVec::<[Group; 1]>::new();
        for (index, member) in self.members.iter().enumerate() {
            let alike = |group: &&mut Group| {
                let first = &self.members[group[0]].states;
                first.iter().zip(&member.states).all(|(one, other)| one.shape() == other.shape())
            };
            match groups.iter_mut().find(alike) {
                Some(group) => group.push(index),
                None => groups.push(SmallVec::from_slice(&[index])),
            }
        }
        groups
    }

    /// One run over a group. It was bound `batch` ago.
    pub(super) fn once(
        &self,
        group: &[usize],
        slot: &mut Slot,
        batch: Duration,
    ) -> Result<Vec<Done>, RunError> {
        let layout = self.layout(group);
        let inputs = self.inputs(&layout, group[0]);
        let rows: Group = group.iter().map(|_| 1).collect();
        let run = Run { inputs: &inputs, rows: &rows, requests: &[], bound: batch };
        let (execution, timings) = self.instances.execute(&run, slot)?;
        self.cut(&layout, execution, timings).map_err(RunError::Failed)
    }

    fn layout(&self, group: &[usize]) -> Layout<'_> {
        let fixed = self.plan.has_fixed_rows;
        let places: Group = group
            .iter()
            .enumerate()
            .map(|(place, &index)| if fixed { self.members[index].row } else { place })
            .collect();
        let mut rows = vec![None; if fixed { self.rows } else { group.len() }];
        for (&place, &index) in places.iter().zip(group) {
            rows[place] = Some(&self.members[index]);
        }
        Layout { rows, places }
    }

    /// What the model is given, in the signature's order: the requests' inputs and states side by side, rows without a request
    /// filled with zeros, and the controls.
    fn inputs(&self, layout: &Layout<'_>, first: usize) -> Vec<BatchInput> {
        let (first, batches) = (&self.members[first], self.plan.batches);
        let mut inputs =
            Vec::with_capacity(first.inputs.len() + self.plan.controls.len() + self.plan.states.len());
        for (place, (index, tensor)) in first.inputs.iter().enumerate() {
            let parts = parts(layout, tensor, |member| &member.inputs[place].1);
            let name = &self.instances.served.interface.inputs[*index].name;
            inputs.push(side_by_side(self.plan.inputs[*index], name, parts, batches));
        }
        for (place, state) in self.plan.states.iter().enumerate() {
            let parts = parts(layout, &first.states[place], |member| &member.states[place]);
            inputs.push(side_by_side(state.input, &state.input_name, parts, batches));
        }
        let rows = layout
            .rows
            .iter()
            .map(|member| member.map(|member| Row { start: member.start, end: member.end, id: &member.id }));
        let rows: SmallVec<[Option<Row<'_>>; 8]> = rows.collect();
        inputs.extend(self.plan.controls.iter().map(|control| control.input(&rows)));
        inputs.sort_unstable_by_key(|input| input.index);
        inputs
    }

    /// Gives each member its rows of the outputs.
    fn cut(
        &self,
        layout: &Layout<'_>,
        execution: Execution,
        timings: StageTimings,
    ) -> Result<Vec<Done>, String> {
        let plan = self.plan;
        let (got, want) = (execution.outputs.len(), plan.all_outputs);
        if got != want {
            return Err(format!("the run gave {got} outputs where the model declares {want}"));
        }
        let rows = layout.rows.len();
        let mut cut = Vec::with_capacity(want);
        for (index, output) in execution.outputs.into_iter().enumerate() {
            cut.push(if plan.batches {
                rows_of(&output, rows).ok_or_else(|| self.odd_output(index, &output, rows))?
            } else {
                vec![output]
            });
        }
        let member = |&place: &usize| {
            let states = plan.states.iter().map(|state| {
                let row = &cut[state.output][place];
                if row.datatype() != state.datatype || !state.shape.matches(row.shape()) {
                    let (name, want) = (&state.output_name, (state.datatype, &state.shape));
                    let have = (row.datatype(), row.shape());
                    return Err(format!(
                        "the state '{name}' is {} {}, expected {} {}",
                        have.0, have.1, want.0, want.1
                    ));
                }
                Ok(kept(row.clone(), rows > 1))
            });
            let states = states.collect::<Result<_, _>>()?;
            let outputs = plan.outputs.iter().map(|&output| cut[output][place].clone()).collect();
            Ok(Done { outputs, states, timings })
        };
        layout.places.iter().map(member).collect()
    }

    fn odd_output(&self, index: usize, output: &Tensor, rows: usize) -> String {
        let visible = self.plan.outputs.iter().position(|output| *output == index);
        let state = self.plan.states.iter().find(|state| state.output == index);
        let name = visible.map(|visible| &*self.instances.served.interface.outputs[visible].name);
        let name = name.or(state.map(|state| &*state.output_name)).unwrap_or_default();
        format!("output '{name}' has shape {} for {rows} rows", output.shape())
    }
}

/// An input of these parts, none of them with more than one row.
pub(super) fn side_by_side(index: usize, name: &Arc<str>, parts: Vec<Tensor>, batches: bool) -> BatchInput {
    let (datatype, shape) = (parts[0].datatype(), parts[0].shape());
    let shape = if batches { shape.with_rows(parts.len()) } else { shape.clone() };
    BatchInput { index, name: Arc::clone(name), datatype, shape, parts }
}

/// What each row has of a tensor: zeros of the same shape where there is no request.
fn parts(layout: &Layout<'_>, like: &Tensor, of: impl Fn(&Member) -> &Tensor) -> Vec<Tensor> {
    let is_full = layout.places.len() == layout.rows.len();
    let nothing = (!is_full).then(|| zeros_like(like));
    let part = |member: &Option<&Member>| match (member, &nothing) {
        (Some(member), _) => of(member).clone(),
        (None, nothing) => nothing.clone().expect("invariant: made where a row has no request"),
    };
    layout.rows.iter().map(part).collect()
}

/// Zeros, or empty strings.
fn zeros_like(tensor: &Tensor) -> Tensor {
    zeros(tensor.datatype(), tensor.shape().clone()).expect("invariant: there is a tensor as large")
}

fn rows_of(output: &Tensor, rows: usize) -> Option<Vec<Tensor>> {
    if rows == 1 && output.shape().rows() == Some(1) {
        return Some(vec![output.clone()]);
    }
    output.split_rows(std::iter::repeat_n(1, rows))
}
