//! Models whose requests belong together in sequences: which inputs the server fills in, what it keeps for each sequence, and
//! how a batch of them runs.
//!
//! Which request runs when, and in which slot, is `adulis_batcher::SequenceQueue`'s to say; the lane asks it
//! (`lane::sequences`).

mod admit;
mod batch;
mod controls;
mod plan;
mod run;
mod states;

pub(crate) use admit::{SequenceJob, SequenceKey};
pub(crate) use plan::{Model, SequencePlan, hidden};
pub(crate) use states::SlotStates;
