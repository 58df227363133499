//! A request to an ensemble that has decoupled steps.
//!
//! What comes together once is a **scope**: the first one comes with the request, and each answer of a decoupled step opens
//! another for the steps behind it. A scope runs its steps as an ensemble without decoupled ones does; what has the origin of
//! the ensemble's outputs becomes an answer. Everything runs in the task that polls it, and is dropped with it.

use std::future::ready;
use std::sync::Arc;

use adulis_types::{BoxFuture, InferRequest, InferResponse, InputTensor, StageTimings};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Ensemble;
use super::asking::{Call, add};
use super::carried::Carried;
use super::flow::Flow;
use super::origins::{Origin, Origins};
use super::run::{count, respond};
use super::verdict::Resolved;
use crate::EngineError;
use crate::admission::{Admitted, Selection};
use crate::cached::Asking;
use crate::lifecycle::Lifecycle;
use crate::serving::{Served, ServingModel};

/// Answers of a decoupled step for which the steps behind it run at the same time, where those make the ensemble's answers.
/// The others wait in the step's model, which waits for them.
const SCOPES_AT_ONCE: usize = 8;

/// What a scope comes to: an answer of the ensemble, where it makes one.
type Opened<'r> = BoxFuture<'r, Result<Option<InferResponse>, EngineError>>;

/// A request in progress.
struct Run<'a> {
    ensemble: &'a Ensemble,
    served: &'a Served,
    models: &'a [Arc<ServingModel>],
    origins: Origins,
    call: Call<'a>,
    selection: Selection,
    /// What every scope begins with.
    flow: Flow<'a, Carried>,
    /// Where the ensemble's answers go, in order.
    answers: mpsc::Sender<InferResponse>,
    /// The times of all steps.
    total: Mutex<StageTimings>,
}

impl Ensemble {
    /// Answers a request any number of times; returns its rows and the times of all its steps. Dropping the future drops all
    /// that is under way, and so does the first step that fails, behind the answers that are there by then.
    pub(super) async fn run(
        &self,
        served: &Served,
        lifecycle: &Arc<Lifecycle>,
        (request, answers): (InferRequest, mpsc::Sender<InferResponse>),
    ) -> Result<(usize, StageTimings), EngineError> {
        let Resolved { models, origins, .. } = lifecycle.table.with(|models| self.resolve(served, models))?;
        let (asking, inputs, outputs) = Asking::of(request);
        let Admitted { inputs, rows, outputs } = served.interface.admit(inputs, &outputs)?;
        let flow = Flow::new(&self.graph, |output| outputs.has(output));
        let mut first = flow.clone();
        self.begin(&mut first, inputs, served.interface.max_rows.is_some());
        let run = Run {
            ensemble: self,
            served,
            models: &models,
            origins: origins.unwrap_or_default(),
            call: Call { lifecycle, asking: &asking },
            selection: outputs,
            flow,
            answers,
            total: Mutex::default(),
        };
        let answer = run.scope(first, None, StageTimings::default()).await?;
        run.deliver(answer).await?;
        let total = *run.total.lock();
        count(served, rows, &total);
        Ok((rows, total))
    }
}

impl Run<'_> {
    /// Runs all steps of a scope, and of those that open within it. `before` are the times of what led to it.
    fn scope<'r>(&'r self, mut flow: Flow<'r, Carried>, origin: Origin, before: StageTimings) -> Opened<'r> {
        Box::pin(async move {
            let mut timings = before;
            let mut running = FuturesUnordered::new();
            loop {
                while let Some(step) = flow.next() {
                    let inputs = self.ensemble.inputs(step, &mut flow, &self.models[step]);
                    running.push(self.step(step, inputs, timings));
                }
                let Some(done) = running.next().await else { break };
                if let Some((step, response)) = done? {
                    add(&mut timings, &response.timings);
                    self.ensemble.give(step, &self.models[step], response, &mut flow);
                }
            }
            if origin != self.origins.outputs() {
                return Ok(None);
            }
            let interface = &self.served.interface;
            let outputs = self.ensemble.outputs(interface, self.models, &self.selection, &mut flow)?;
            Ok(Some(respond(self.served, self.call.asking.id.clone(), outputs, timings)))
        })
    }

    /// Asks a step. The answers of a decoupled one have been followed to their ends.
    async fn step(
        &self,
        step: usize,
        inputs: Vec<InputTensor>,
        before: StageTimings,
    ) -> Result<Option<(usize, InferResponse)>, EngineError> {
        if self.origins.is_decoupled(step) {
            self.follow(step, inputs, before).await?;
            return Ok(None);
        }
        let asked = self.ensemble.step(step, &self.models[step], inputs, &self.call).await;
        let (step, response) = asked.map_err(|error| self.within(error))?;
        add(&mut self.total.lock(), &response.timings);
        Ok(Some((step, response)))
    }

    /// Opens a scope for each answer of a decoupled step. No answer is taken before there is room for what it leads to.
    async fn follow(
        &self,
        step: usize,
        inputs: Vec<InputTensor>,
        before: StageTimings,
    ) -> Result<(), EngineError> {
        let model = &self.models[step];
        let asking = self.ensemble.asking(step, model, inputs, &self.call).await;
        let (request, asking) = asking.map_err(|error| self.within(error))?;
        let mut last = StageTimings::default();
        {
            let mut open = |answer: Result<InferResponse, EngineError>| -> Opened<'_> {
                match answer {
                    Ok(mut response) => {
                        asking.answered(&mut response);
                        last = response.timings;
                        self.open(step, response, before)
                    }
                    Err(error) => Box::pin(ready(Err(self.within(error)))),
                }
            };
            let mut scopes = model.answers(self.call.lifecycle, request).map(&mut open);
            if self.origins.outputs() == Some(step) {
                let mut answers = scopes.buffered(SCOPES_AT_ONCE);
                while let Some(answer) = answers.next().await {
                    self.deliver(answer?).await?;
                }
            } else {
                // One after the other: so the answers of further decoupled steps keep their order.
                while let Some(scope) = scopes.next().await {
                    scope.await?;
                }
            }
        }
        add(&mut self.total.lock(), &last);
        Ok(())
    }

    fn open(&self, step: usize, response: InferResponse, mut before: StageTimings) -> Opened<'_> {
        add(&mut before, &response.timings);
        let mut flow = self.flow.clone();
        self.ensemble.give(step, &self.models[step], response, &mut flow);
        self.scope(flow, Some(step), before)
    }

    async fn deliver(&self, answer: Option<InferResponse>) -> Result<(), EngineError> {
        match answer {
            None => Ok(()),
            // Whoever polls this has the other end.
            Some(answer) => self.answers.send(answer).await.map_err(|_| EngineError::Closing),
        }
    }

    fn within(&self, error: EngineError) -> EngineError {
        error.within(&self.served.interface.model)
    }
}
