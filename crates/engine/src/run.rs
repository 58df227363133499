mod failed;

use std::time::{Duration, Instant};

use adulis_backend::{BatchInput, BatchRequest, Execution};
use adulis_batcher::{Batch, Member};
use adulis_telemetry::ShedReason;
use adulis_tensor::Tensor;
use adulis_types::StageTimings;
use smallvec::SmallVec;

use self::failed::Caller;
use crate::EngineError;
use crate::admission::Interface;
use crate::decoupled::About;
use crate::instance::{RunError, Slot};
use crate::instances::{Instances, microseconds};
use crate::job::{Answer, Job, JobInputs, Reply};
use crate::lane::{BatchLane, Bound, Lane, Replies, Shed, Size, Work};

impl Instances {
    /// Runs what is bound, answers it, and gives the instance back. The flag says whether the model has more to do.
    pub(crate) fn run(&self, bound: Bound) -> bool {
        let Bound { work, slot, at } = bound;
        match (&self.lane, work) {
            (Lane::Batches(lane), Work::Batch(batch)) => self.run_batch(lane, batch, slot, at),
            (Lane::Sequences(lane), Work::Sequences(batch)) => self.run_sequences(lane, *batch, slot, at),
            _ => unreachable!("invariant: a lane binds work of its own kind"),
        }
    }

    fn run_batch(&self, lane: &BatchLane, batch: Batch<Job>, mut slot: Slot, at: Instant) -> bool {
        self.served.metrics().executing.inc();
        let size = Size { rows: batch.rows, bucket: batch.bucket };
        if slot.has_lost() {
            self.begin_again(lane, &mut slot);
        }
        let (replies, infer) = self.run_members(lane, batch.members, (&mut slot, at));
        // The instance goes back before anybody is told, so that who comes next finds it free.
        let again = lane.give_back(slot, size, infer);
        self.served.metrics().executing.dec();
        lane.answer(batch.sequence, replies);
        again
    }

    /// Runs one admitted request on the caller's thread, with an instance that the lane gave for that.
    pub(crate) fn run_inline(
        &self,
        lane: &BatchLane,
        (inputs, size): (JobInputs, Size),
        about: Option<Box<About>>,
        mut slot: Slot,
    ) -> (Reply, bool) {
        let rows = size.rows;
        let inputs = assemble(&self.served.interface, std::iter::once(inputs), rows);
        let about = about.map(|about| about.request);
        let batch = Run {
            inputs: &inputs,
            rows: &[rows],
            requests: about.as_slice(),
            bound: Duration::ZERO,
        };
        let run = self.run_once(&batch, &mut slot);
        let infer = run
            .as_ref()
            .ok()
            .and_then(|answers| answers.first())
            .map(|answer| answer.timings.compute_infer);
        let again = lane.give_back(slot, size, infer);
        let reply = match run {
            Ok(mut answers) => {
                answers.pop().ok_or_else(|| self.lost()).and_then(|answer| self.served.checked(answer))
            }
            Err(error) => Err(self.failed(error)),
        };
        (reply, again)
    }

    fn run_members(
        &self,
        lane: &BatchLane,
        members: impl IntoIterator<Item = Member<Job>>,
        (slot, at): (&mut Slot, Instant),
    ) -> (Replies, Option<Duration>) {
        let mut callers = Vec::new();
        let mut rows = SmallVec::<[usize; 32]>::new();
        let mut inputs = Vec::new();
        let mut requests = Vec::new();
        for Member { payload: job, rows: job_rows, enqueued } in members {
            let queued = at.saturating_duration_since(enqueued);
            self.served.metrics().queue.observe(queued);
            callers.push(Caller { reply: job.reply, queued, request_id: job.request_id });
            requests.extend(job.about.map(|about| about.request));
            rows.push(job_rows);
            inputs.push(job.inputs);
        }
        let inputs = assemble(&self.served.interface, inputs.into_iter(), rows.iter().sum());
        let batch = Run { inputs: &inputs, rows: &rows, requests: &requests, bound: at.elapsed() };
        match self.run_once(&batch, slot) {
            Ok(answers) => {
                let infer = answers.first().map(|answer| answer.timings.compute_infer);
                let replies = callers.into_iter().zip(answers).map(|(caller, mut answer)| {
                    answer.timings.queue = caller.queued;
                    (caller.reply, self.served.checked(answer))
                });
                (replies.collect(), infer)
            }
            Err(error) => (self.answer_failed(lane, (callers, &batch), slot, error), None),
        }
    }

    /// One run of the instance over a batch, cut into one answer for each of its members.
    fn run_once(&self, run: &Run<'_>, slot: &mut Slot) -> Result<Vec<Answer>, RunError> {
        let (execution, timings) = self.execute(run, slot)?;
        scatter(&self.served.interface, execution, run.rows, timings)
    }

    /// One run of the instance, and counts it.
    pub(crate) fn execute(
        &self,
        run: &Run<'_>,
        slot: &mut Slot,
    ) -> Result<(Execution, StageTimings), RunError> {
        let Run { inputs, rows, requests, bound } = *run;
        if slot.has_lost() {
            self.served.metrics().instance_rebuilds.inc();
        }
        let execution = slot.execute(&*self.model, inputs, requests)?;
        let timings = StageTimings {
            queue: Duration::ZERO,
            batch: bound,
            compute_input: execution.input,
            compute_infer: execution.infer,
            compute_output: execution.output,
        };
        let metrics = self.served.metrics();
        let members = rows.len() as u64;
        let total_rows: usize = rows.iter().sum();
        self.served.statistics.executed(total_rows, &timings);
        metrics.executions.inc();
        metrics.rows.inc_by(total_rows as u64);
        metrics.batch_rows.observe(total_rows);
        metrics.batch.observe_times(timings.batch, members);
        metrics.compute_input.observe_times(timings.compute_input, members);
        metrics.compute_infer.observe_times(timings.compute_infer, members);
        metrics.compute_output.observe_times(timings.compute_output, members);
        Ok((execution, timings))
    }

    /// What the client is told of a failed run. Logged here, once.
    pub(crate) fn fault(&self, error: RunError) -> EngineError {
        let model = self.served.interface.model.clone();
        match error {
            RunError::Failed(reason) => EngineError::Execution { model, reason },
            RunError::Refused(reason) => EngineError::Refused { model, reason },
            RunError::Interrupted if self.has_limit() => self.execution_limit(),
            RunError::Interrupted => {
                EngineError::Broken { model, reason: "the run was interrupted".to_owned() }
            }
            RunError::Broken(reason) => EngineError::Broken { model, reason },
            RunError::Panicked(reason) => EngineError::Panicked { model, reason },
        }
    }

    pub(crate) fn lost(&self) -> EngineError {
        EngineError::Broken {
            model: self.served.interface.model.clone(),
            reason: "the run gave no answer".to_owned(),
        }
    }

    /// Answers jobs that left the queue without a run.
    pub(crate) fn refuse(&self, shed: Shed) {
        // A caller that has gone needs no answer.
        for job in shed.expired {
            let _ = job.reply.send(Err(self.queue_timeout(job.queued)));
        }
        for job in shed.late {
            self.served.shed(ShedReason::Late);
            let waited_microseconds = microseconds(job.queued.elapsed());
            let model = self.served.interface.model.clone();
            let _ = job.reply.send(Err(EngineError::Late { model, waited_microseconds }));
        }
    }
}

/// What one run is over.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) inputs: &'a [BatchInput],
    /// Of each member.
    pub(crate) rows: &'a [usize],
    /// The members, where the model wants to know of them.
    pub(crate) requests: &'a [BatchRequest],
    /// How long ago it was bound.
    pub(crate) bound: Duration,
}

/// Puts the inputs of several requests, all of one shape class, side by side. Copies no data.
pub(crate) fn assemble(
    interface: &Interface,
    requests: impl ExactSizeIterator<Item = JobInputs>,
    rows: usize,
) -> Vec<BatchInput> {
    let count = requests.len();
    let mut batch: Vec<BatchInput> = Vec::new();
    for request in requests {
        if batch.is_empty() {
            batch.reserve_exact(request.len());
            for (index, tensor) in request {
                let shape = match interface.max_rows {
                    Some(_) => tensor.shape().with_rows(rows),
                    None => tensor.shape().clone(),
                };
                let mut parts = Vec::with_capacity(count);
                let datatype = tensor.datatype();
                parts.push(tensor);
                batch.push(BatchInput {
                    index,
                    name: interface.inputs[index].name.clone(),
                    datatype,
                    shape,
                    parts,
                });
            }
        } else {
            for (input, (_, tensor)) in batch.iter_mut().zip(request) {
                input.parts.push(tensor);
            }
        }
    }
    batch
}

/// Gives outputs the shape that clients see. Copies no data.
fn reshape(interface: &Interface, outputs: &mut [Tensor]) -> Result<(), RunError> {
    for (index, shape_for_client) in interface.reshapes.outputs() {
        let output = &mut outputs[index];
        let shape = shape_for_client(output.shape());
        let reshaped = shape.and_then(|shape| output.clone().reshaped(shape));
        *output = reshaped.ok_or_else(|| {
            let (name, shape) = (&interface.outputs[index].name, output.shape());
            RunError::Failed(format!("output '{name}' has shape {shape}, which its reshape does not say"))
        })?;
    }
    Ok(())
}

/// Cuts outputs into one answer per request. Copies no data.
fn scatter(
    interface: &Interface,
    mut execution: Execution,
    rows: &[usize],
    timings: StageTimings,
) -> Result<Vec<Answer>, RunError> {
    if execution.outputs.len() != interface.outputs.len() {
        let (got, want) = (execution.outputs.len(), interface.outputs.len());
        return Err(RunError::Failed(format!("the run gave {got} outputs where the model declares {want}")));
    }
    reshape(interface, &mut execution.outputs)?;
    let total: usize = rows.iter().sum();
    if interface.max_rows.is_some() {
        let odd = execution
            .outputs
            .iter()
            .zip(&interface.outputs)
            .find(|(output, _)| output.shape().rows() != Some(total));
        if let Some((output, spec)) = odd {
            let (name, shape) = (&spec.name, output.shape());
            return Err(RunError::Failed(format!("output '{name}' has shape {shape} for {total} rows")));
        }
    }
    let mut parameters = execution.parameters.into_iter();
    let mut parameters = || parameters.next().unwrap_or_default();
    if rows.len() == 1 {
        return Ok(vec![Answer { outputs: execution.outputs, parameters: parameters(), timings }]);
    }
    let empty = || Vec::with_capacity(interface.outputs.len());
    let mut answers: Vec<Answer> = rows
        .iter()
        .map(|_| Answer { outputs: empty(), parameters: parameters(), timings })
        .collect();
    for output in execution.outputs {
        let parts = output.split_rows(rows.iter().copied()).ok_or_else(|| {
            RunError::Failed(format!("an output of shape {} cannot be cut into rows", output.shape()))
        })?;
        for (answer, part) in answers.iter_mut().zip(parts) {
            answer.outputs.push(part);
        }
    }
    Ok(answers)
}
