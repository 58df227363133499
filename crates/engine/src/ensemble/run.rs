use adulis_types::{InferRequest, InferResponse, Name, OutputTensor, StageTimings};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Ensemble;
use super::asking::{Call, add};
use super::flow::Flow;
use super::verdict::Resolved;
use crate::EngineError;
use crate::admission::Admitted;
use crate::lifecycle::Lifecycle;
use crate::serving::{Served, Took};

impl Ensemble {
    /// The answer, and the rows that it took. All steps run in the caller's task, those that need not wait for each other
    /// at the same time; dropping the future drops them all, and so does the first that fails.
    ///
    /// # Errors
    /// Those of the steps, and [`EngineError::Decoupled`] where one of them answers any number of times.
    pub(crate) async fn answer(
        &self,
        served: &Served,
        lifecycle: &Lifecycle,
        mut request: InferRequest,
    ) -> Result<(Took, InferResponse), EngineError> {
        // For the whole request: a model that is loaded again meanwhile finishes what it is asked.
        let Resolved { models, origins } = lifecycle.table.with(|models| self.resolve(served, models))?;
        if origins.is_some() {
            return Err(EngineError::Decoupled { model: served.interface.model.clone() });
        }
        let inputs = std::mem::take(&mut request.inputs);
        let Admitted { inputs, rows, outputs } = served.interface.admit(inputs, &request.outputs)?;
        let mut flow = Flow::new(&self.graph, |output| outputs.has(output));
        self.begin(&mut flow, inputs, served.interface.max_rows.is_some());
        let call = Call::new(lifecycle, request);
        let mut timings = StageTimings::default();
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(step) = flow.next() {
                let (model, inputs) = (&*models[step], self.inputs(step, &mut flow, &models[step]));
                running.push(self.step(step, model, inputs, &call));
            }
            let Some(done) = running.next().await else { break };
            let (step, response) = done.map_err(|error| error.within(&served.interface.model))?;
            add(&mut timings, &response.timings);
            self.give(step, &models[step], response, &mut flow);
        }
        drop(running);
        let outputs = self.outputs(&served.interface, &models, &outputs, &mut flow)?;
        count(served, rows, &timings);
        Ok((Took::run(rows), respond(served, call.request.id, outputs, timings)))
    }
}

/// Counts an ensemble's request as one execution, with the times of all its steps.
pub(super) fn count(served: &Served, rows: usize, timings: &StageTimings) {
    let metrics = served.metrics();
    served.statistics.executed(rows, timings);
    metrics.executions.inc();
    metrics.rows.inc_by(rows as u64);
    metrics.batch_rows.observe(rows);
    metrics.compute_input.observe_times(timings.compute_input, 1);
    metrics.compute_infer.observe_times(timings.compute_infer, 1);
    metrics.compute_output.observe_times(timings.compute_output, 1);
}

/// The answer of an ensemble.
pub(super) fn respond(
    served: &Served,
    id: Name,
    outputs: Vec<OutputTensor>,
    timings: StageTimings,
) -> InferResponse {
    InferResponse {
        model_name: served.interface.model.clone(),
        model_version: served.version,
        id,
        parameters: adulis_types::Parameters::default(),
        outputs,
        timings,
        cache: None,
    }
}
