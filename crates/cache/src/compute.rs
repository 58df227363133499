use std::future::Future;

use adulis_tensor::Tensor;
use adulis_types::{Failure, StageTimings};

use crate::value::Answer;

/// Inputs of a request, each with its index in the signature, ascending.
pub type Inputs = Vec<(usize, Tensor)>;

/// What runs the model: the engine, seen from the cache.
pub trait Compute: Sync {
    /// Why it gave no answer.
    type Error: Send;

    /// Answers these inputs: so many rows of the request's, or all of them as they came.
    ///
    /// # Errors
    /// Its own.
    fn run(
        &self,
        inputs: Inputs,
        rows: Option<usize>,
    ) -> impl Future<Output = Result<Computed, Self::Error>> + Send;

    /// How late it is served where requests wait for the model: a lower rank goes first. Whoever would be served before the one
    /// that computes its answer already does not wait for that one. All are equal, unless it says otherwise.
    fn rank(&self) -> u64 {
        0
    }

    /// The error of a request whose time was over while it waited for the run of another.
    fn late(&self) -> Self::Error;

    /// What may be remembered of an error, where it would be the same each time.
    fn lasting(&self, error: &Self::Error) -> Option<Failure>;

    /// An error that was remembered.
    fn recalled(&self, failure: &Failure) -> Self::Error;
}

/// What a run gave.
#[derive(Debug, Clone)]
pub struct Computed {
    /// The outputs that were asked for, in the signature's order, and what the model said beside them.
    pub answer: Answer,
    /// Where the time went.
    pub timings: StageTimings,
}
