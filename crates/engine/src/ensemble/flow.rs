//! How far one request has come in an ensemble: which steps can start, and what they are given.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::graph::Graph;

/// The state of one request. `T` is a tensor's value.
///
/// Every step that is wanted is started once, when the last of its inputs is there; a value is given away, not copied, to
/// the last that takes it.
#[derive(Clone)]
pub(crate) struct Flow<'g, T> {
    graph: &'g Graph,
    values: Vec<Value<T>>,
    /// Inputs that each step still waits for.
    missing: SmallVec<[usize; 16]>,
    wanted: SmallVec<[bool; 16]>,
    ready: VecDeque<usize>,
}

#[derive(Clone)]
struct Value<T> {
    /// `None` before it is made, after its last use, and for an optional input that the request left out.
    value: Option<T>,
    /// How often it will be taken.
    uses: usize,
}

impl<'g, T: Clone> Flow<'g, T> {
    /// A request for the outputs that are asked for.
    pub(crate) fn new(graph: &'g Graph, asked: impl Fn(usize) -> bool) -> Self {
        let wanted = graph.wanted(&asked);
        let taken = |takers: &[usize]| takers.iter().filter(|taker| wanted[**taker]).count();
        let values = graph.tensors.iter().map(|link| Value { value: None, uses: taken(&link.takers) });
        let mut values: Vec<Value<T>> = values.collect();
        for (index, tensor) in graph.outputs.iter().enumerate() {
            values[*tensor].uses += usize::from(asked(index));
        }
        let missing = graph.steps.iter().map(|step| step.inputs.len()).collect();
        Self { graph, values, missing, wanted, ready: VecDeque::new() }
    }

    /// A tensor is there; `None` says that it never will be.
    pub(crate) fn set(&mut self, tensor: usize, value: Option<T>) {
        let entry = &mut self.values[tensor];
        entry.value = value.filter(|_| entry.uses > 0);
        for &taker in &self.graph.tensors[tensor].takers {
            self.missing[taker] -= 1;
            if self.missing[taker] == 0 && self.wanted[taker] {
                self.ready.push_back(taker);
            }
        }
    }

    /// The next step that can start.
    pub(crate) fn next(&mut self) -> Option<usize> {
        self.ready.pop_front()
    }

    /// A value, for one of those that take it.
    pub(crate) fn take(&mut self, tensor: usize) -> Option<T> {
        let entry = &mut self.values[tensor];
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses == 0 { entry.value.take() } else { entry.value.clone() }
    }
}

#[cfg(test)]
mod tests;
