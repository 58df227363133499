use std::collections::BTreeMap;

/// A model made of other models: each step runs as soon as its inputs are there.
///
/// Every tensor that a step takes is an input of the ensemble or made by one other step; every output of the ensemble is
/// made by a step; no step waits for itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ensemble {
    /// The steps, in the order they are written. Never empty.
    pub steps: Vec<EnsembleStep>,
    /// Most requests that each step has under way at once; 0: no limit.
    pub max_inflight_requests: usize,
}

/// One model's part in an ensemble.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnsembleStep {
    /// The model.
    pub model_name: String,
    /// Its version; `None`: the one served by default.
    pub model_version: Option<u64>,
    /// The model's inputs, each with the ensemble's tensor that it is given.
    pub input_map: BTreeMap<String, String>,
    /// The model's outputs, each with the ensemble's tensor that it becomes. Outputs that nobody needs are left out.
    pub output_map: BTreeMap<String, String>,
    /// The repository that the model is of. Names are unique here, so that it decides nothing.
    pub model_namespace: Option<String>,
}
