use super::{file_name, microseconds, signed};
use crate::name::datatype_name;
use crate::raw::{
    RawControl, RawControlInput, RawDirect, RawInitialState, RawOldest, RawSequenceBatching, RawState,
};
use crate::{
    ControlKind, FalseTrue, InitialData, InitialState, SequenceBatching, SequenceControl, SequenceState,
    SequenceStrategy,
};

/// `sequence_batching`.
pub(super) fn batching(batching: &SequenceBatching) -> RawSequenceBatching {
    let mut raw = RawSequenceBatching {
        max_sequence_idle_microseconds: Some(microseconds(batching.max_sequence_idle)),
        control_input: batching.control_inputs.iter().map(control_input).collect(),
        state: batching.states.iter().map(state).collect(),
        ..RawSequenceBatching::default()
    };
    match &batching.strategy {
        SequenceStrategy::Direct { max_queue_delay, minimum_slot_utilization } => {
            raw.direct = Some(RawDirect {
                max_queue_delay_microseconds: Some(microseconds(*max_queue_delay)),
                max_queue_delay: None,
                minimum_slot_utilization: Some(f64::from(*minimum_slot_utilization)),
            });
        }
        SequenceStrategy::Oldest {
            max_candidate_sequences,
            preferred_batch_size,
            max_queue_delay,
            preserve_ordering,
        } => {
            raw.oldest = Some(RawOldest {
                max_candidate_sequences: Some(signed(*max_candidate_sequences)),
                preferred_batch_size: preferred_batch_size.iter().copied().map(signed).collect(),
                max_queue_delay_microseconds: Some(microseconds(*max_queue_delay)),
                max_queue_delay: None,
                preserve_ordering: *preserve_ordering,
            });
        }
    }
    raw
}

fn control_input(input: &SequenceControl) -> RawControlInput {
    let mut control = RawControl { kind: Some(input.kind.name().to_owned()), ..RawControl::default() };
    match input.kind {
        ControlKind::Start(values) | ControlKind::Ready(values) | ControlKind::End(values) => match values {
            FalseTrue::Int32(values) => control.int32_false_true = values.map(i64::from).to_vec(),
            FalseTrue::Fp32(values) => control.fp32_false_true = values.map(f64::from).to_vec(),
            FalseTrue::Bool(values) => control.bool_false_true = values.to_vec(),
        },
        ControlKind::CorrelationId(datatype) => control.data_type = Some(datatype_name(datatype)),
    }
    RawControlInput { name: Some(input.name.clone()), control: vec![control] }
}

fn state(state: &SequenceState) -> RawState {
    let initial = state.initial.iter();
    RawState {
        input_name: Some(state.input_name.clone()),
        output_name: Some(state.output_name.clone()),
        data_type: Some(datatype_name(state.datatype)),
        dims: state.dims.clone(),
        initial_state: initial.map(|initial| initial_state(state, initial)).collect(),
        use_same_buffer_for_input_output: state.use_same_buffer.then_some(true),
        use_growable_memory: None,
    }
}

fn initial_state(state: &SequenceState, initial: &InitialState) -> RawInitialState {
    let mut raw = RawInitialState {
        name: Some(initial.name.clone()),
        data_type: Some(datatype_name(state.datatype)),
        dims: initial.dims.clone(),
        ..RawInitialState::default()
    };
    match &initial.data {
        InitialData::Zero => raw.zero_data = Some(true),
        InitialData::File(path) => raw.data_file = file_name(path),
    }
    raw
}
