use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_repository::Labels;
use adulis_tensor::{Shape, ShapePattern, Tensor};
use adulis_types::{InferRequest, InferResponse, InputTensor, Name, OutputTensor, StageTimings, TraceMoment};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::SemaphorePermit;

use super::Ensemble;
use super::flow::Flow;
use crate::EngineError;
use crate::admission::{Admitted, Interface, Selected, Selection};
use crate::classification::classify;
use crate::lifecycle::Lifecycle;
use crate::serving::{Served, ServingModel};

/// A tensor between steps. It shares its data with what made it.
#[derive(Clone)]
struct Carried {
    tensor: Tensor,
    /// Whether its leading dimension is a batch dimension.
    batches: bool,
}

/// What every step's request has of the ensemble's.
struct Call<'a> {
    lifecycle: &'a Lifecycle,
    request: InferRequest,
    deadline: Option<Instant>,
}

impl Ensemble {
    /// The answer, and the rows that it took. All steps run in the caller's task, those that need not wait for each other
    /// at the same time; dropping the future drops them all, and so does the first that fails.
    pub(crate) async fn answer(
        &self,
        served: &Served,
        lifecycle: &Lifecycle,
        mut request: InferRequest,
    ) -> Result<(usize, InferResponse), EngineError> {
        // For the whole request: a model that is loaded again meanwhile finishes what it is asked.
        let models = lifecycle.table.with(|models| self.resolve(served, models))?;
        let inputs = std::mem::take(&mut request.inputs);
        let Admitted { inputs, rows, outputs } = served.interface.admit(inputs, &request.outputs)?;
        let mut flow = Flow::new(&self.graph, |output| outputs.has(output));
        self.begin(&mut flow, inputs, served.interface.max_rows.is_some());
        let deadline = request.timeout.and_then(|timeout| request.arrived.checked_add(timeout));
        let call = Call { lifecycle, request, deadline };
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
            let batches = models[step].served.interface.max_rows.is_some();
            let outputs =
                response.outputs.into_iter().map(|output| Carried { tensor: output.tensor, batches });
            for ((_, tensor), value) in self.graph.steps[step].outputs.iter().zip(outputs) {
                flow.set(*tensor, Some(value));
            }
        }
        drop(running);
        let outputs = self.outputs(&served.interface, &models, &outputs, &mut flow)?;
        count(served, rows, &timings);
        Ok((rows, respond(served, call.request.id, outputs, timings)))
    }

    /// Tells the flow what the request brought, and which optional inputs it left out.
    fn begin(&self, flow: &mut Flow<'_, Carried>, inputs: Vec<(usize, Tensor)>, batches: bool) {
        let mut inputs = inputs.into_iter().peekable();
        for tensor in 0..self.graph.inputs {
            let given = inputs.next_if(|(index, _)| *index == tensor);
            flow.set(tensor, given.map(|(_, tensor)| Carried { tensor, batches }));
        }
    }

    /// What a step is given, without what is not there.
    fn inputs(&self, step: usize, flow: &mut Flow<'_, Carried>, model: &ServingModel) -> Vec<InputTensor> {
        let interface = &model.served.interface;
        let mapped = self.graph.steps[step].inputs.iter().filter_map(|(name, tensor)| {
            let carried = flow.take(*tensor)?;
            let spec = interface.inputs.iter().find(|spec| *spec.name == **name)?;
            let tensor = carried.fitted(interface.max_rows.is_some(), &spec.shape);
            Some(InputTensor { name: name.clone(), tensor })
        });
        mapped.collect()
    }

    /// Asks a step's model, once the step may have one more request under way.
    async fn step(
        &self,
        step: usize,
        model: &ServingModel,
        inputs: Vec<InputTensor>,
        call: &Call<'_>,
    ) -> Result<(usize, InferResponse), EngineError> {
        let (_permit, waited) = self.permit(step, model, call).await?;
        let mut request = InferRequest::new(self.graph.steps[step].model.clone());
        request.id.clone_from(&call.request.id);
        request.request_id = call.request.request_id.clone();
        request.parameters.clone_from(&call.request.parameters);
        request.sequence.clone_from(&call.request.sequence);
        request.priority = call.request.priority;
        request.outputs.clone_from(&self.requested[step]);
        request.inputs = inputs;
        if let Some(deadline) = call.deadline {
            let left = deadline.checked_duration_since(request.arrived);
            request.timeout = Some(left.ok_or_else(|| call.late(model))?);
        }
        let trace = call.request.trace.as_ref().map(|trace| trace.child(&*model.served.interface.model));
        request.trace.clone_from(&trace);
        let asked = Instant::now();
        if let Some(trace) = &trace {
            trace.asked(&request, asked);
        }
        let mut response = model.answer(call.lifecycle, request).await?;
        if let Some(trace) = &trace {
            trace.answered(&response, asked);
            trace.note(TraceMoment::RequestEnd);
        }
        response.timings.queue += waited;
        Ok((step, response))
    }

    /// A place among the step's requests that are under way, where their number is limited, and how long that took.
    async fn permit(
        &self,
        step: usize,
        model: &ServingModel,
        call: &Call<'_>,
    ) -> Result<(Option<SemaphorePermit<'_>>, Duration), EngineError> {
        let Some(permits) = self.permits.get(step) else {
            return Ok((None, Duration::ZERO));
        };
        let started = Instant::now();
        let permit = match call.deadline {
            None => permits.acquire().await,
            Some(at) => match tokio::time::timeout_at(at.into(), permits.acquire()).await {
                Ok(permit) => permit,
                Err(_) => return Err(call.late(model)),
            },
        };
        // It is never closed.
        Ok((permit.ok(), started.elapsed()))
    }

    /// What was asked for, in the order in which it was.
    fn outputs(
        &self,
        interface: &Interface,
        models: &[Arc<ServingModel>],
        selection: &Selection,
        flow: &mut Flow<'_, Carried>,
    ) -> Result<Vec<OutputTensor>, EngineError> {
        let mut output = |Selected { index, classes }| {
            let spec = &interface.outputs[index];
            let carried = flow.take(self.graph.outputs[index]).ok_or_else(|| EngineError::Execution {
                model: interface.model.clone(),
                reason: format!("no step gave output '{}'", spec.name),
            })?;
            let batches = interface.max_rows.is_some();
            let mut tensor = carried.fitted(batches, &spec.shape);
            if classes > 0 {
                let labels = interface.labels_of(index).or_else(|| self.labels_of(index, models));
                // One without classes was refused when the request was admitted.
                tensor = classify(&tensor, batches, classes, labels).unwrap_or(tensor);
            }
            Ok(OutputTensor::new(spec.name.clone(), tensor))
        };
        match selection {
            Selection::All => {
                let all = 0..self.graph.outputs.len();
                all.map(|index| output(Selected { index, classes: 0 })).collect()
            }
            Selection::These(wanted) => wanted.iter().map(|selected| output(*selected)).collect(),
        }
    }

    /// The labels that the model which makes an output has for it.
    fn labels_of<'m>(&self, output: usize, models: &'m [Arc<ServingModel>]) -> Option<&'m Labels> {
        let tensor = self.graph.outputs[output];
        let maker = self.graph.tensors[tensor].maker?;
        let (name, _) = self.graph.steps[maker].outputs.iter().find(|(_, made)| *made == tensor)?;
        let interface = &models[maker].served.interface;
        let index = interface.outputs.iter().position(|spec| *spec.name == **name)?;
        interface.labels_of(index)
    }
}

impl Call<'_> {
    /// Its time was over before this model could be asked.
    fn late(&self, model: &ServingModel) -> EngineError {
        let waited = self.request.arrived.elapsed().as_micros();
        EngineError::DeadlineExceeded {
            model: model.served.interface.model.clone(),
            waited_microseconds: u64::try_from(waited).unwrap_or(u64::MAX),
        }
    }
}

impl Carried {
    /// The tensor for one that takes it: where only one of the two has a batch dimension, a single row gets or loses it,
    /// unless the tensor fits as a whole. What does not fit then, who takes it refuses.
    fn fitted(self, batches: bool, pattern: &ShapePattern) -> Tensor {
        let shape = self.tensor.shape();
        let fitted: Option<Shape> = match (self.batches, batches) {
            (false, true) if ShapePattern::new(pattern.get(1..).unwrap_or_default()).matches(shape) => {
                Some(std::iter::once(1).chain(shape.iter().copied()).collect())
            }
            (true, false) if shape.rows() == Some(1) && !pattern.matches(shape) => {
                Some(shape.row_dimensions().iter().copied().collect())
            }
            _ => None,
        };
        match fitted {
            None => self.tensor,
            // A dimension of one more or less is the same number of elements.
            Some(fitted) => self.tensor.clone().reshaped(fitted).unwrap_or(self.tensor),
        }
    }
}

/// Adds a step's times to the ensemble's. Steps that ran at the same time are counted in full, each.
fn add(sum: &mut StageTimings, step: &StageTimings) {
    sum.queue += step.queue;
    sum.batch += step.batch;
    sum.compute_input += step.compute_input;
    sum.compute_infer += step.compute_infer;
    sum.compute_output += step.compute_output;
}

/// Counts an ensemble's request as one execution, with the times of all its steps.
fn count(served: &Served, rows: usize, timings: &StageTimings) {
    let metrics = served.metrics();
    served.statistics.executed(rows, timings);
    metrics.executions.inc();
    metrics.rows.inc_by(rows as u64);
    metrics.batch_rows.observe(rows);
    metrics.compute_input.observe_times(timings.compute_input, 1);
    metrics.compute_infer.observe_times(timings.compute_infer, 1);
    metrics.compute_output.observe_times(timings.compute_output, 1);
}

fn respond(served: &Served, id: Name, outputs: Vec<OutputTensor>, timings: StageTimings) -> InferResponse {
    InferResponse {
        model_name: served.interface.model.clone(),
        model_version: served.version,
        id,
        parameters: adulis_types::Parameters::default(),
        outputs,
        timings,
    }
}
