use std::collections::BTreeSet;
use std::mem::discriminant;
use std::time::Duration;

use adulis_tensor::DataType;

use super::Check;
use super::tensors::lies_beside;
use crate::name::is_plain_file_name;
use crate::raw::{
    RawControl, RawControlInput, RawDirect, RawInitialState, RawOldest, RawSequenceBatching, RawState,
};
use crate::schema::narrow;
use crate::strict::near_miss;
use crate::{
    ControlKind, FalseTrue, InitialData, InitialState, SequenceBatching, SequenceControl, SequenceState,
    SequenceStrategy,
};

/// Most sequences that one instance may have at once; each has its own queue.
const MAX_CANDIDATES: i64 = 1 << 20;

/// Datatypes that a correlation id may have.
const CORRELATION_ID_TYPES: [DataType; 5] = [
    DataType::Uint64,
    DataType::Int64,
    DataType::Uint32,
    DataType::Int32,
    DataType::Bytes,
];

const CONTROL_KINDS: [&str; 4] = [
    "CONTROL_SEQUENCE_START",
    "CONTROL_SEQUENCE_READY",
    "CONTROL_SEQUENCE_END",
    "CONTROL_SEQUENCE_CORRID",
];

impl Check<'_> {
    pub(super) fn sequence_batching(
        &mut self,
        raw: &RawSequenceBatching,
        max_batch_size: Option<usize>,
    ) -> SequenceBatching {
        let key = "sequence_batching";
        if raw.iterative_sequence == Some(true) {
            self.faults.push_with_remedy(
                format!("{key}.iterative_sequence"),
                "is not supported: a model here does not ask for its own request again",
                "leave it out, and send a request for each step",
            );
        }
        let idle = self.duration(
            &format!("{key}.max_sequence_idle"),
            raw.max_sequence_idle.as_deref(),
            raw.max_sequence_idle_microseconds,
        );
        let idle = idle.filter(|idle| !idle.is_zero());
        let batching = SequenceBatching {
            strategy: self.strategy(raw, max_batch_size),
            max_sequence_idle: idle.unwrap_or(SequenceBatching::DEFAULT_MAX_SEQUENCE_IDLE),
            control_inputs: self.control_inputs(&raw.control_input),
            states: self.states(&raw.state),
        };
        self.sequence_names(&batching);
        batching
    }

    fn strategy(&mut self, raw: &RawSequenceBatching, max_batch_size: Option<usize>) -> SequenceStrategy {
        match (&raw.direct, &raw.oldest) {
            (Some(_), Some(_)) => {
                let message = "direct and oldest do not go together";
                self.faults.push_with_remedy("sequence_batching", message, "leave one of them out");
                SequenceStrategy::default()
            }
            (Some(direct), None) => self.direct(direct),
            (None, Some(oldest)) => self.oldest(oldest, max_batch_size),
            (None, None) => SequenceStrategy::default(),
        }
    }

    fn direct(&mut self, raw: &RawDirect) -> SequenceStrategy {
        let key = "sequence_batching.direct";
        let share = raw.minimum_slot_utilization.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&share) {
            let message = format!("expected a share from 0 to 1, got {share}");
            self.faults.push(format!("{key}.minimum_slot_utilization"), message);
        }
        SequenceStrategy::Direct {
            max_queue_delay: self.queue_delay(
                key,
                raw.max_queue_delay.as_deref(),
                raw.max_queue_delay_microseconds,
            ),
            minimum_slot_utilization: narrow(share),
        }
    }

    fn oldest(&mut self, raw: &RawOldest, max_batch_size: Option<usize>) -> SequenceStrategy {
        let key = "sequence_batching.oldest";
        let candidates = raw.max_candidate_sequences.unwrap_or(0);
        let candidates = self.whole(format!("{key}.max_candidate_sequences"), candidates, 1..=MAX_CANDIDATES);
        SequenceStrategy::Oldest {
            max_candidate_sequences: candidates.unwrap_or(1),
            preferred_batch_size: self.preferred_sizes(key, &raw.preferred_batch_size, max_batch_size),
            max_queue_delay: self.queue_delay(
                key,
                raw.max_queue_delay.as_deref(),
                raw.max_queue_delay_microseconds,
            ),
            preserve_ordering: raw.preserve_ordering,
        }
    }

    fn queue_delay(&mut self, key: &str, text: Option<&str>, microseconds: Option<i64>) -> Duration {
        self.duration(&format!("{key}.max_queue_delay"), text, microseconds).unwrap_or_default()
    }

    fn control_inputs(&mut self, raw: &[RawControlInput]) -> Vec<SequenceControl> {
        let mut controls: Vec<SequenceControl> = Vec::with_capacity(raw.len());
        for (index, input) in raw.iter().enumerate() {
            let key = format!("sequence_batching.control_input[{index}]");
            let name = self.required(&format!("{key}.name"), input.name.as_deref());
            let [control] = input.control.as_slice() else {
                let message = format!("expected one control, got {}", input.control.len());
                self.faults.push_with_remedy(
                    format!("{key}.control"),
                    message,
                    "give each control an input of its own",
                );
                continue;
            };
            let Some(kind) = self.control(&format!("{key}.control[0]"), control) else {
                continue;
            };
            if controls.iter().any(|earlier| discriminant(&earlier.kind) == discriminant(&kind)) {
                let message = format!("{} is there twice", kind.name());
                self.faults.push(format!("{key}.control[0].kind"), message);
            }
            controls.push(SequenceControl { name, kind });
        }
        controls
    }

    fn control(&mut self, key: &str, raw: &RawControl) -> Option<ControlKind> {
        let kind = raw.kind.as_deref().unwrap_or(CONTROL_KINDS[0]);
        match kind {
            "CONTROL_SEQUENCE_START" | "start" => self.false_true(key, raw).map(ControlKind::Start),
            "CONTROL_SEQUENCE_READY" | "ready" => self.false_true(key, raw).map(ControlKind::Ready),
            "CONTROL_SEQUENCE_END" | "end" => self.false_true(key, raw).map(ControlKind::End),
            "CONTROL_SEQUENCE_CORRID" | "corrid" => Some(self.correlation_id(key, raw)),
            other => {
                let known = CONTROL_KINDS.join(", ");
                let message = format!("unknown kind {other:?}: expected one of {known}");
                self.faults
                    .push_with_hint(format!("{key}.kind"), message, near_miss(other, CONTROL_KINDS));
                None
            }
        }
    }

    /// What stands for false and true: two values of one of three datatypes.
    fn false_true(&mut self, key: &str, raw: &RawControl) -> Option<FalseTrue> {
        if raw.data_type.is_some() {
            let message = "the values tell the datatype: only CONTROL_SEQUENCE_CORRID has a data_type";
            self.faults.push_with_remedy(format!("{key}.data_type"), message, "leave it out");
        }
        match (
            raw.int32_false_true.as_slice(),
            raw.fp32_false_true.as_slice(),
            raw.bool_false_true.as_slice(),
        ) {
            (&[no, yes], [], []) => match (i32::try_from(no), i32::try_from(yes)) {
                (Ok(no), Ok(yes)) => Some(FalseTrue::Int32([no, yes])),
                _ => {
                    self.faults.push(format!("{key}.int32_false_true"), "expected values of 32 bits");
                    None
                }
            },
            ([], &[no, yes], []) => Some(FalseTrue::Fp32([narrow(no), narrow(yes)])),
            ([], [], &[no, yes]) => Some(FalseTrue::Bool([no, yes])),
            _ => {
                self.faults.push_with_remedy(
                    key,
                    "expected the values for false and true in one of int32_false_true, fp32_false_true and bool_false_true",
                    "for example int32_false_true: [ 0, 1 ]",
                );
                None
            }
        }
    }

    fn correlation_id(&mut self, key: &str, raw: &RawControl) -> ControlKind {
        let values = raw.int32_false_true.len() + raw.fp32_false_true.len() + raw.bool_false_true.len();
        if values > 0 {
            self.faults
                .push_with_remedy(key, "a correlation id is not false or true", "set data_type alone");
        }
        let key = format!("{key}.data_type");
        let datatype = self.datatype(&key, raw.data_type.as_deref().or(Some("TYPE_UINT64")));
        if !CORRELATION_ID_TYPES.contains(&datatype) {
            let known = CORRELATION_ID_TYPES.map(crate::name::datatype_name).join(", ");
            self.faults.push(key, format!("expected one of {known}, got {datatype}"));
        }
        ControlKind::CorrelationId(datatype)
    }

    fn states(&mut self, raw: &[RawState]) -> Vec<SequenceState> {
        let states = raw.iter().enumerate();
        states
            .map(|(index, state)| self.state(&format!("sequence_batching.state[{index}]"), state))
            .collect()
    }

    fn state(&mut self, key: &str, raw: &RawState) -> SequenceState {
        if raw.use_growable_memory == Some(true) {
            self.faults.push_with_remedy(
                format!("{key}.use_growable_memory"),
                "is not supported",
                "leave it out: states take the memory that they need",
            );
        }
        let datatype = self.datatype(&format!("{key}.data_type"), raw.data_type.as_deref());
        self.dims(&format!("{key}.dims"), &raw.dims, -1);
        if raw.initial_state.len() > 1 {
            let message = format!("expected at most one, got {}", raw.initial_state.len());
            self.faults.push(format!("{key}.initial_state"), message);
        }
        let initial = raw.initial_state.first();
        SequenceState {
            input_name: self.required(&format!("{key}.input_name"), raw.input_name.as_deref()),
            output_name: self.required(&format!("{key}.output_name"), raw.output_name.as_deref()),
            datatype,
            initial: initial.map(|initial| {
                self.initial_state(&format!("{key}.initial_state[0]"), initial, (datatype, &raw.dims))
            }),
            dims: raw.dims.clone(),
            use_same_buffer: raw.use_same_buffer_for_input_output.unwrap_or(false),
        }
    }

    fn initial_state(
        &mut self,
        key: &str,
        raw: &RawInitialState,
        (state_datatype, state_dims): (DataType, &[i64]),
    ) -> InitialState {
        let datatype = self.datatype(&format!("{key}.data_type"), raw.data_type.as_deref());
        if datatype != state_datatype {
            let message = format!("is {datatype}, but the state is {state_datatype}");
            self.faults.push(format!("{key}.data_type"), message);
        }
        let dims_key = format!("{key}.dims");
        self.dims(&dims_key, &raw.dims, 0);
        self.elements(&dims_key, &raw.dims);
        let fits = raw.dims.len() == state_dims.len()
            && raw.dims.iter().zip(state_dims).all(|(own, state)| *state < 0 || own == state);
        if !fits {
            let message = format!("{:?} does not fit the state's {state_dims:?}", raw.dims);
            self.faults.push(dims_key, message);
        }
        InitialState {
            name: raw.name.clone().unwrap_or_default(),
            dims: raw.dims.clone(),
            data: self.initial_data(key, raw),
        }
    }

    fn initial_data(&mut self, key: &str, raw: &RawInitialState) -> InitialData {
        let zero = raw.zero_data == Some(true);
        let Some(file) = &raw.data_file else {
            if !zero {
                self.faults.push(key, "expected one of zero_data: true and data_file");
            }
            return InitialData::Zero;
        };
        if zero {
            self.faults.push(key, "expected one of zero_data and data_file");
        }
        InitialData::File(self.data_file(&format!("{key}.data_file"), "initial_state", file))
    }

    /// No tensor is filled in twice, and none that the server fills in is an input that requests have.
    fn sequence_names(&mut self, batching: &SequenceBatching) {
        let mut seen = BTreeSet::new();
        let controls = batching.control_inputs.iter().enumerate();
        let controls = controls.map(|(index, control)| {
            (format!("sequence_batching.control_input[{index}].name"), &control.name)
        });
        let states = batching.states.iter().enumerate();
        let states = states.map(|(index, state)| {
            (format!("sequence_batching.state[{index}].input_name"), &state.input_name)
        });
        for (key, name) in controls.chain(states) {
            if !seen.insert(name) {
                self.faults.push(key, format!("{name:?} is there twice"));
            }
        }
        let mut outputs = BTreeSet::new();
        for (index, state) in batching.states.iter().enumerate() {
            if !outputs.insert(&state.output_name) {
                let key = format!("sequence_batching.state[{index}].output_name");
                self.faults.push(key, format!("{:?} is there twice", state.output_name));
            }
        }
    }

    /// Data that lies in a folder of the model's folder.
    pub(super) fn data_file(&mut self, key: &str, folder: &str, file: &str) -> std::path::PathBuf {
        let path = self.directory.join(folder).join(file);
        if !is_plain_file_name(file) {
            let message = format!("{file:?} is not the name of a file in the model's {folder} folder");
            self.faults.push(key, message);
        } else if !path.is_file() {
            let message = format!("{file:?} is not there");
            self.faults
                .push_with_remedy(key, message, format!("put it into the model's {folder} folder"));
        } else if !lies_beside(&path, self.directory) {
            // What is in the file can show in what the model gives, and in errors.
            let message = format!("{file:?} is a link that leads out of the repository");
            let remedy = format!("copy what it leads to into the model's {folder} folder");
            self.faults.push_with_remedy(key, message, remedy);
        }
        path
    }
}
