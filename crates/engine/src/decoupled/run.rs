use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_backend::{Gone, Responder, Response, ResponseSink};
use adulis_batcher::Member;
use adulis_types::{ServiceError, StageTimings};
use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::Event;
use crate::instances::Instances;
use crate::job::Answer;
use crate::lane::{Bound, Lane, Replies, Size, Work};
use crate::run::assemble;
use crate::serving::Served;
use crate::statistics::Position;

impl Instances {
    /// Runs a batch of a decoupled model, whose requests are answered meanwhile, and gives the instance back. The flag says
    /// whether the model has more to do.
    pub(crate) fn run_decoupled(&self, bound: Bound) -> bool {
        let Bound { work, mut slot, at } = bound;
        let (Lane::Batches(lane), Work::Batch(batch)) = (&self.lane, work) else {
            unreachable!("invariant: a decoupled model takes no sequences");
        };
        let metrics = self.served.metrics();
        metrics.executing.inc();
        let (rows, started) = (batch.rows, Instant::now());
        let size = Size { rows, bucket: batch.bucket };
        let mut callers = SmallVec::<[_; 1]>::new();
        let mut responders = Vec::new();
        let mut inputs = Vec::new();
        for Member { payload: job, rows, enqueued } in batch.members {
            let queue = at.saturating_duration_since(enqueued);
            metrics.queue.observe(queue);
            metrics.batch.observe(at.elapsed());
            if let Some(about) = job.about {
                let mut request = about.request;
                request.rows = rows;
                let timings = StageTimings { queue, batch: at.elapsed(), ..StageTimings::default() };
                let sink = about.answers.map(|answers| Sink::new(&self.served, answers, timings));
                responders.extend(sink.map(|sink| Responder::new(request, sink)));
            }
            callers.push(job.reply);
            inputs.push(job.inputs);
        }
        let requests = callers.len() as u64;
        let inputs = assemble(&self.served.interface, inputs.into_iter(), rows);
        if slot.has_lost() {
            metrics.instance_rebuilds.inc();
        }
        let run = slot.respond(&*self.model, &inputs, responders);
        self.count(rows, requests, started.elapsed(), run.is_ok());
        let again = lane.give_back(slot, size, None);
        metrics.executing.dec();
        let reply = run.map(|()| Answer::default()).map_err(|error| self.fault(error));
        let replies: Replies = callers.into_iter().map(|caller| (caller, reply.clone())).collect();
        lane.answer(batch.sequence, replies);
        again
    }

    fn count(&self, rows: usize, requests: u64, took: Duration, is_good: bool) {
        if !is_good {
            return;
        }
        let metrics = self.served.metrics();
        let timings = StageTimings { compute_infer: took, ..StageTimings::default() };
        self.served.statistics.executed(rows, &timings);
        metrics.executions.inc();
        metrics.rows.inc_by(rows as u64);
        metrics.batch_rows.observe(rows);
        metrics.compute_infer.observe_times(took, requests);
    }
}

/// Where the answers of one request go.
struct Sink {
    served: Arc<Served>,
    answers: mpsc::Sender<Event>,
    /// How long it waited, until the run began.
    timings: StageTimings,
    started: Instant,
    /// When the answer before was sent.
    before: Instant,
    index: u64,
}

impl Sink {
    fn new(served: &Arc<Served>, answers: mpsc::Sender<Event>, timings: StageTimings) -> Self {
        let now = Instant::now();
        Self {
            served: Arc::clone(served),
            answers,
            timings,
            started: now,
            before: now,
            index: 0,
        }
    }

    /// Hands an event on and counts it for the position of its answer.
    fn put(&mut self, event: Event, position: Position) -> Result<(), Gone> {
        let computed = self.before.elapsed();
        let sending = Instant::now();
        let sent = self.answers.blocking_send(event).map_err(|_| Gone);
        let position = if sent.is_ok() { position } else { Position::Cancelled };
        self.served.statistics.responded(self.index, position, computed, sending.elapsed());
        self.before = Instant::now();
        self.index += 1;
        sent
    }

    fn timings(&self) -> StageTimings {
        StageTimings { compute_infer: self.started.elapsed(), ..self.timings }
    }
}

impl ResponseSink for Sink {
    fn send(&mut self, response: Response, is_last: bool) -> Result<(), Gone> {
        let (got, want) = (response.outputs.len(), self.served.interface.outputs.len());
        if got != want {
            self.end(Err(format!("an answer has {got} outputs where the model declares {want}")));
            return Err(Gone);
        }
        if let Err(error) = self.served.check_finite(&response.outputs) {
            self.end(Err(error.client_message().into_owned()));
            return Err(Gone);
        }
        let Response { outputs, parameters } = response;
        let timings = self.timings();
        self.put(Event::Answer { outputs, parameters, timings, is_last }, Position::Answered)
    }

    fn end(&mut self, outcome: Result<(), String>) {
        let position = if outcome.is_ok() { Position::Empty } else { Position::Failed };
        let timings = self.timings();
        // Who has gone needs no end.
        let _ = self.put(Event::End { outcome, timings }, position);
    }

    fn is_gone(&self) -> bool {
        self.answers.is_closed()
    }
}
