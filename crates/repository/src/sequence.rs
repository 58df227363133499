use std::path::PathBuf;
use std::time::Duration;

use adulis_tensor::DataType;

/// How requests of sequences are scheduled: all of one sequence go to one instance, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceBatching {
    /// How sequences share batches.
    pub strategy: SequenceStrategy,
    /// How long a sequence may go without a request before it is given up. Never zero.
    pub max_sequence_idle: Duration,
    /// Inputs that the server fills in, to tell the model where in a sequence each row stands. No two of one kind.
    pub control_inputs: Vec<SequenceControl>,
    /// Tensors that the server keeps from one request of a sequence to the next.
    pub states: Vec<SequenceState>,
}

impl SequenceBatching {
    /// How long a sequence may be idle where nothing is configured. Source: Triton's default.
    pub const DEFAULT_MAX_SEQUENCE_IDLE: Duration = Duration::from_secs(1);
}

impl Default for SequenceBatching {
    /// The direct strategy, without control inputs or states.
    fn default() -> Self {
        Self {
            strategy: SequenceStrategy::default(),
            max_sequence_idle: Self::DEFAULT_MAX_SEQUENCE_IDLE,
            control_inputs: Vec::new(),
            states: Vec::new(),
        }
    }
}

/// How sequences share batches.
#[derive(Debug, Clone, PartialEq)]
pub enum SequenceStrategy {
    /// Each sequence has a row of its own in an instance's batch for as long as it is open.
    Direct {
        /// Longest that a request waits for those of other sequences.
        max_queue_delay: Duration,
        /// Share of the rows, from 0 to 1, that must have a request before an instance runs without waiting out the delay.
        minimum_slot_utilization: f32,
    },
    /// Each instance has sequences of its own; its batches are made of their oldest requests.
    Oldest {
        /// Most sequences that one instance has at once; others wait. At least 1.
        max_candidate_sequences: usize,
        /// Rows at which a batch goes without waiting for more; ascending, no duplicates.
        preferred_batch_size: Vec<usize>,
        /// Longest that a request waits for others while the instance is idle.
        max_queue_delay: Duration,
        /// Whether responses leave in the order that requests came.
        preserve_ordering: bool,
    },
}

impl Default for SequenceStrategy {
    fn default() -> Self {
        Self::Direct { max_queue_delay: Duration::ZERO, minimum_slot_utilization: 0.0 }
    }
}

/// An input of the model that the server fills in, one element per row.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceControl {
    /// The input's name.
    pub name: String,
    /// What it says.
    pub kind: ControlKind,
}

/// What a control input says of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ControlKind {
    /// Whether the request begins its sequence.
    Start(FalseTrue),
    /// Whether there is a request in this row at all.
    Ready(FalseTrue),
    /// Whether the request ends its sequence.
    End(FalseTrue),
    /// The sequence's id, as this datatype: UINT64, INT64, UINT32, INT32 or BYTES.
    CorrelationId(DataType),
}

impl ControlKind {
    /// The name that configurations have for it, such as `CONTROL_SEQUENCE_START`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ControlKind::Start(_) => "CONTROL_SEQUENCE_START",
            ControlKind::Ready(_) => "CONTROL_SEQUENCE_READY",
            ControlKind::End(_) => "CONTROL_SEQUENCE_END",
            ControlKind::CorrelationId(_) => "CONTROL_SEQUENCE_CORRID",
        }
    }

    /// The datatype of the input.
    #[must_use]
    pub const fn datatype(self) -> DataType {
        match self {
            ControlKind::Start(values) | ControlKind::Ready(values) | ControlKind::End(values) => {
                values.datatype()
            }
            ControlKind::CorrelationId(datatype) => datatype,
        }
    }
}

/// What stands for false and what for true in a control input: `[false, true]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FalseTrue {
    /// As INT32.
    Int32([i32; 2]),
    /// As FP32.
    Fp32([f32; 2]),
    /// As BOOL.
    Bool([bool; 2]),
}

impl FalseTrue {
    /// The datatype that the values have.
    #[must_use]
    pub const fn datatype(self) -> DataType {
        match self {
            FalseTrue::Int32(_) => DataType::Int32,
            FalseTrue::Fp32(_) => DataType::Fp32,
            FalseTrue::Bool(_) => DataType::Bool,
        }
    }
}

/// A tensor that the server keeps for each sequence: the model's output of one request is its input of the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceState {
    /// The model's input that is given the state.
    pub input_name: String,
    /// The model's output that is the next state.
    pub output_name: String,
    /// The datatype of both.
    pub datatype: DataType,
    /// The dimensions of both, without the batch dimension; -1 for any extent.
    pub dims: Vec<i64>,
    /// The state that a sequence begins with; `None`: zeros, with extent 1 where any is allowed.
    pub initial: Option<InitialState>,
    /// Whether the model may write the next state over the one that it reads.
    pub use_same_buffer: bool,
}

/// The state that a sequence begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialState {
    /// A name, for messages; may be empty.
    pub name: String,
    /// Its dimensions without the batch dimension; all known. They fit the state's own.
    pub dims: Vec<i64>,
    /// Where its data comes from. The datatype is the state's.
    pub data: InitialData,
}

/// Where the data of an initial state comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitialData {
    /// Zeros (empty strings for BYTES).
    Zero,
    /// A file of one row's raw bytes, as the binary tensor extension lays them out: an existing path in the model's
    /// `initial_state` folder.
    File(PathBuf),
}
