use std::collections::BTreeMap;

/// Releases answers in the order in which their batches were dispatched (`preserve_ordering`).
///
/// Every sequence number from 0 on must be completed or abandoned once; until then, later ones are held back. A number
/// that was already released (a fault of the caller) has its item passed on at once: out of order is better than lost.
#[derive(Debug)]
pub struct OrderedRelease<T> {
    next: u64,
    held: BTreeMap<u64, Option<T>>,
}

impl<T> Default for OrderedRelease<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> OrderedRelease<T> {
    /// A release that waits for sequence number 0.
    #[must_use]
    pub fn new() -> Self {
        Self { next: 0, held: BTreeMap::new() }
    }

    /// `item` is the answer of `sequence`. Appends to `out` what may leave now, in order.
    pub fn complete(&mut self, sequence: u64, item: T, out: &mut Vec<T>) {
        if sequence < self.next || self.held.contains_key(&sequence) {
            out.push(item);
        } else if sequence == self.next {
            out.push(item);
            self.next += 1;
            self.release(out);
        } else {
            self.held.insert(sequence, Some(item));
        }
    }

    /// `sequence` will have no answer. Appends to `out` what may leave now, in order.
    pub fn abandon(&mut self, sequence: u64, out: &mut Vec<T>) {
        if sequence >= self.next {
            self.held.entry(sequence).or_insert(None);
            self.release(out);
        }
    }

    /// Sequence numbers held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn release(&mut self, out: &mut Vec<T>) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() != self.next {
                return;
            }
            out.extend(entry.remove());
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_that_was_released_is_passed_on() {
        let (mut release, mut out) = (OrderedRelease::new(), Vec::new());
        release.complete(0, 'a', &mut out);
        release.complete(0, 'b', &mut out);
        release.complete(2, 'd', &mut out);
        release.complete(2, 'e', &mut out);
        assert_eq!(out, ['a', 'b', 'e']);
        release.abandon(0, &mut out);
        release.abandon(1, &mut out);
        assert_eq!(out, ['a', 'b', 'e', 'd']);
        assert_eq!(release.held(), 0);
    }

    proptest! {
        #[test]
        fn items_leave_in_sequence_and_as_soon_as_they_may(
            order in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle(),
            abandoned in prop::collection::vec(any::<bool>(), 40),
        ) {
            let (mut release, mut out) = (OrderedRelease::new(), Vec::new());
            let mut settled = [false; 40];
            for sequence in order {
                let index = usize::try_from(sequence).unwrap();
                settled[index] = true;
                match abandoned[index] {
                    true => release.abandon(sequence, &mut out),
                    false => release.complete(sequence, index, &mut out),
                }
                let may_leave: Vec<usize> =
                    (0..40).take_while(|i| settled[*i]).filter(|i| !abandoned[*i]).collect();
                prop_assert_eq!(&out, &may_leave);
            }
            prop_assert_eq!(release.held(), 0);
        }
    }
}
