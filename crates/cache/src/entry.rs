use std::sync::Arc;
use std::time::Duration;

use adulis_tensor::Tensor;
use adulis_types::Failure;
use tokio::time::Instant;

use crate::scope::Scope;
use crate::value::Answer;

/// What an entry takes beside the data of its tensors: itself, its key, and its place in the table, whose capacity is a power of
/// two and half as large again for keys that were there.
const ENTRY_BYTES: usize = 384;
/// What a tensor takes beside its data.
const TENSOR_BYTES: usize = 160;

/// An answer that is remembered. Never changed once it is made.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) outcome: Outcome,
    /// When it was computed, here or elsewhere.
    pub(crate) computed: Instant,
    /// Until when it is given without a further thought, and until when it is given while it is computed anew.
    pub(crate) fresh_until: Option<Instant>,
    pub(crate) stale_until: Option<Instant>,
    /// What the memory tier reckons for it.
    pub(crate) bytes: usize,
    /// Set where the memory tier holds it: the counts of its model.
    counted: Option<Arc<Scope>>,
}

/// How the model answered.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Answer(Answer),
    /// It failed, in a way that is remembered for a while.
    Failure(Failure),
}

/// What holds of an entry at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    Stale,
    Expired,
}

impl Entry {
    /// An entry that shares no memory with anything else: what was part of a larger allocation is copied out.
    pub(crate) fn owned(outcome: Outcome, life: Life, scope: &Arc<Scope>) -> Self {
        let outcome = match outcome {
            Outcome::Answer(answer) => Outcome::Answer(copied(answer)),
            failure @ Outcome::Failure(_) => failure,
        };
        let mut entry = Self::passing(outcome, life);
        scope.added(entry.bytes);
        entry.counted = Some(Arc::clone(scope));
        entry
    }

    /// An entry that is handed on to whoever waits for it, and not kept.
    pub(crate) fn passing(outcome: Outcome, life: Life) -> Self {
        let bytes = weight(&outcome);
        let Life { computed, fresh_until, stale_until } = life;
        Self { outcome, computed, fresh_until, stale_until, bytes, counted: None }
    }

    pub(crate) fn freshness(&self, now: Instant) -> Freshness {
        if self.fresh_until.is_none_or(|until| now < until) {
            Freshness::Fresh
        } else if self.stale_until.is_some_and(|until| now < until) {
            Freshness::Stale
        } else {
            Freshness::Expired
        }
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.computed)
    }

    /// The answer, if it is one.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answer(answer) => Some(answer),
            Outcome::Failure(_) => None,
        }
    }

    /// The counts of its model.
    pub(crate) fn scope(&self) -> Option<&Arc<Scope>> {
        self.counted.as_ref()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(scope) = &self.counted {
            scope.removed(self.bytes);
        }
    }
}

/// The times of an entry. `None`: for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) computed: Instant,
    pub(crate) fresh_until: Option<Instant>,
    pub(crate) stale_until: Option<Instant>,
}

/// What an entry of this content takes, all in all.
pub(crate) fn weight(outcome: &Outcome) -> usize {
    let content = match outcome {
        Outcome::Failure(failure) => failure.message.len(),
        Outcome::Answer(Answer { outputs, parameters }) => {
            let outputs: usize = outputs.iter().map(|output| output.data().len() + TENSOR_BYTES).sum();
            let parameters: usize = parameters.iter().map(|(name, _)| name.len() + TENSOR_BYTES).sum();
            outputs + parameters
        }
    };
    content + ENTRY_BYTES
}

/// The same in allocations of its own, exactly as large as it is.
fn copied(answer: Answer) -> Answer {
    let outputs = answer.outputs.iter().map(Tensor::detached).collect();
    Answer { outputs, parameters: answer.parameters }
}
