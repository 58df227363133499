use std::collections::BTreeMap;

use adulis_tensor::{AlignedBuffer, Tensor};
use bytes::Bytes;

/// What the server keeps for the sequences of one instance, by slot: for each state of the model one row.
#[derive(Debug, Default)]
pub(crate) struct SlotStates(BTreeMap<usize, Vec<Tensor>>);

impl SlotStates {
    /// What is kept for a slot.
    pub(crate) fn get(&self, slot: usize) -> Option<&[Tensor]> {
        self.0.get(&slot).map(Vec::as_slice)
    }

    /// Keeps these, in place of what was kept.
    pub(crate) fn put(&mut self, slot: usize, states: Vec<Tensor>) {
        self.0.insert(slot, states);
    }

    /// The slot's sequence is over.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.0.remove(&slot);
    }

    /// Forgets those of other slots.
    pub(crate) fn retain(&mut self, mut is_open: impl FnMut(usize) -> bool) {
        self.0.retain(|slot, _| is_open(*slot));
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A row that is kept: a copy, where it is a slice of a whole batch's output, whose memory it would hold.
pub(crate) fn kept(row: Tensor, is_slice: bool) -> Tensor {
    if !is_slice {
        return row;
    }
    let mut buffer = AlignedBuffer::default();
    buffer.gather(std::iter::once(&row.data()[..]));
    Tensor::new(row.datatype(), row.shape().clone(), Bytes::from_owner(buffer))
        .expect("invariant: a copy of a valid tensor")
}
