//! Ensembles: models made of other models. Their requests run in the caller's own task, which asks the models as any client
//! would: there is no thread, queue or instance of an ensemble.
//!
//! [`graph`] says who gives what to whom, [`origins`] what of it comes with each answer of a decoupled step, [`flow`] how far one
//! request has come, [`verdict`] whether the models that there are now fit together, and [`composition`] what answers of all of
//! them depend on; [`asking`] asks one of them and [`carried`] what is handed on. [`run`] is a request with one answer, which may
//! be [`cached`], [`scopes`] one with any number, which are [`answers`].

mod answers;
mod asking;
mod cached;
mod carried;
mod composition;
mod flow;
mod graph;
mod origins;
mod run;
mod scopes;
mod verdict;

use adulis_cache::ModelKeys;
use adulis_repository::{Ensemble as Config, ModelConfig};
use adulis_types::RequestedOutput;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::LoadError;
use crate::admission::Interface;
use crate::plan;
use crate::reshape::Reshapes;
pub(crate) use answers::Answers;
pub(crate) use composition::{Remembering, cached_with, is_part, unidentified};
use graph::Graph;
use verdict::Remembered;
pub(crate) use verdict::{Cause, Unready};

/// What an ensemble's model version has in place of instances.
pub(crate) struct Ensemble {
    graph: Graph,
    /// What each step's model is asked for.
    requested: Vec<Vec<RequestedOutput>>,
    /// Requests that each step may have under way; empty: any number.
    permits: Vec<Semaphore>,
    /// What its answers depend on beside its models and requests.
    digest: ModelKeys,
    /// Where they are remembered, if that is asked for.
    remembering: Option<Remembering>,
    /// Whether the models fit together, as it was found for one state of the model table.
    remembered: Mutex<Option<Remembered>>,
}

impl Ensemble {
    /// # Errors
    /// [`LoadError::Configuration`] where the data flow makes no sense.
    pub(crate) fn new(
        config: &ModelConfig,
        ensemble: &Config,
        (digest, remembering): (ModelKeys, Option<Remembering>),
    ) -> Result<Self, LoadError> {
        let graph = Graph::new(config, ensemble)?;
        let requested = graph.steps.iter().map(|step| {
            let outputs = step.outputs.iter().map(|(name, _)| RequestedOutput::new(name.clone()));
            outputs.collect()
        });
        let requested = requested.collect();
        let permits = match ensemble.max_inflight_requests {
            0 => Vec::new(),
            limit => {
                let limit = limit.min(Semaphore::MAX_PERMITS);
                graph.steps.iter().map(|_| Semaphore::new(limit)).collect()
            }
        };
        Ok(Self { graph, requested, permits, digest, remembering, remembered: Mutex::new(None) })
    }

    /// The models that it asks, without those that they ask in turn.
    pub(crate) fn models(&self) -> impl Iterator<Item = &str> {
        self.graph.steps.iter().map(|step| step.model.name.as_str())
    }

    /// How many steps it has.
    pub(crate) fn steps(&self) -> usize {
        self.graph.steps.len()
    }
}

/// What an ensemble takes and gives: what its configuration says.
pub(crate) fn interface(config: &ModelConfig) -> Interface {
    let max_rows = config.max_batch_size.filter(|rows| *rows > 0);
    let batches = max_rows.is_some();
    Interface {
        model: config.name.as_str().into(),
        labels: config.outputs.iter().map(|output| output.labels.clone()).collect(),
        inputs: plan::declared_specs(&config.inputs, batches),
        outputs: plan::declared_specs(&config.outputs, batches),
        reshapes: Reshapes::default(),
        max_rows,
    }
}
