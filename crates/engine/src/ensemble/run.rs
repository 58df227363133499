use std::sync::Arc;

use adulis_types::{InferRequest, InferResponse, Name, OutputTensor, StageTimings};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::asking::{Call, add};
use super::flow::Flow;
use super::{Ensemble, cached};
use crate::EngineError;
use crate::admission::{Admitted, Selection};
use crate::cached::Asking;
use crate::job::JobInputs;
use crate::lifecycle::Lifecycle;
use crate::serving::{Served, ServingModel, Took};

impl Ensemble {
    /// The answer of `serving`, which this ensemble is, and the rows that it took.
    ///
    /// # Errors
    /// Those of the steps, and [`EngineError::Decoupled`] where one of them answers any number of times.
    pub(crate) async fn answer(
        &self,
        serving: &Arc<ServingModel>,
        lifecycle: &Arc<Lifecycle>,
        request: InferRequest,
    ) -> Result<(Took, InferResponse), EngineError> {
        let served = &*serving.served;
        // For the whole request: a model that is loaded again meanwhile finishes what it is asked.
        let resolved = lifecycle.table.with(|models| self.resolve(served, models))?;
        if resolved.origins.is_some() {
            return Err(EngineError::Decoupled { model: served.interface.model.clone() });
        }
        let (asking, inputs, outputs) = Asking::of(request);
        let admitted = served.interface.admit(inputs, &outputs)?;
        // As for any model: of a request's place in a sequence no key knows.
        if asking.sequence.is_none() && resolved.composition.cache().is_some() {
            // Boxed, so that the future of other requests is no larger for it.
            return Box::pin(cached::answer((serving, lifecycle), &resolved, asking, admitted)).await;
        }
        let Admitted { inputs, rows, outputs } = admitted;
        let call = Call { lifecycle, asking: &asking };
        let (outputs, timings) =
            self.run_once((served, &resolved.models[..]), &call, (inputs, &outputs)).await?;
        count(served, rows, &timings);
        Ok((Took::run(rows), respond(served, asking.id, outputs, timings)))
    }

    /// Runs the steps for one answer: those outputs that are asked for, and the times of all steps. All run in the caller's task,
    /// those that need not wait for each other at the same time; dropping the future drops them all, and so does the first that
    /// fails.
    pub(super) async fn run_once(
        &self,
        (served, models): (&Served, &[Arc<ServingModel>]),
        call: &Call<'_>,
        (inputs, outputs): (JobInputs, &Selection),
    ) -> Result<(Vec<OutputTensor>, StageTimings), EngineError> {
        let mut flow = Flow::new(&self.graph, |output| outputs.has(output));
        self.begin(&mut flow, inputs, served.interface.max_rows.is_some());
        let mut timings = StageTimings::default();
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(step) = flow.next() {
                let (model, inputs) = (&models[step], self.inputs(step, &mut flow, &models[step]));
                running.push(self.step(step, model, inputs, call));
            }
            let Some(done) = running.next().await else { break };
            let (step, response) = done.map_err(|error| error.within(&served.interface.model))?;
            add(&mut timings, &response.timings);
            self.give(step, &models[step], response, &mut flow);
        }
        drop(running);
        Ok((self.outputs(&served.interface, models, outputs, &mut flow)?, timings))
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
        quota: None,
    }
}
