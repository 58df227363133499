use std::collections::BTreeSet;

/// The slots of one instance, lowest first.
#[derive(Debug)]
pub(super) struct Slots {
    limit: usize,
    /// Whose each slot is, up to the last that is taken.
    owners: Vec<Option<u32>>,
    /// Free ones among them.
    gaps: BTreeSet<usize>,
}

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, owners: Vec::new(), gaps: BTreeSet::new() }
    }

    /// Takes the lowest free slot.
    pub(super) fn take(&mut self, owner: u32) -> Option<usize> {
        let slot = match self.gaps.pop_first() {
            Some(gap) => gap,
            None if self.owners.len() < self.limit => {
                self.owners.push(None);
                self.owners.len() - 1
            }
            None => return None,
        };
        self.owners[slot] = Some(owner);
        Some(slot)
    }

    pub(super) fn release(&mut self, slot: usize) {
        self.owners[slot] = None;
        self.gaps.insert(slot);
        while self.owners.last() == Some(&None) {
            self.owners.pop();
        }
        self.gaps.split_off(&self.owners.len());
    }

    pub(super) fn owner(&self, slot: usize) -> Option<u32> {
        self.owners.get(slot).copied().flatten()
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = u32> + use<'_> {
        self.owners.iter().copied().flatten()
    }

    pub(super) fn taken(&self) -> usize {
        self.owners.len() - self.gaps.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.taken() < self.limit
    }

    /// One more than the highest slot that is taken.
    pub(super) fn span(&self) -> usize {
        self.owners.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_slot_is_taken_and_the_span_follows() {
        let mut slots = Slots::new(3);
        assert_eq!([slots.take(7), slots.take(8), slots.take(9)], [Some(0), Some(1), Some(2)]);
        assert_eq!((slots.take(1), slots.has_room()), (None, false));
        slots.release(1);
        assert_eq!((slots.taken(), slots.span(), slots.owner(1), slots.owner(2)), (2, 3, None, Some(9)));
        slots.release(2);
        assert_eq!((slots.taken(), slots.span()), (1, 1));
        assert_eq!(slots.owners().collect::<Vec<_>>(), [7]);
        slots.release(0);
        assert_eq!((slots.taken(), slots.span()), (0, 0));
        assert_eq!(slots.take(5), Some(0));
    }
}
