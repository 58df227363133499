use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_backend::{BatchRequest, Model};
use adulis_batcher::{BatchPolicy, Offer, RefusedReason, ShapeBucket, ShapeClass, TooLate};
use adulis_telemetry::ShedReason;
use adulis_types::{Identity, InferRequest, InferResponse, RequestId};
use tokio::sync::{oneshot, watch};

use crate::EngineError;
use crate::admission::{Admitted, shape_bucket, shape_class};
use crate::cached::{self, Asking, Looked, OnInstances};
use crate::decoupled::About;
use crate::ensemble::Unready;
use crate::executor::Executor;
use crate::flow;
use crate::job::{Job, JobInputs, Reply};
use crate::lane::{BatchLane, Lane, NotQueued, Place, Queued, Size};
use crate::plan::queue_timeout;
use crate::rate::Limited;
use crate::serving::{Served, Took};
use crate::watch::{Watch, broken};

/// A model version that has instances of its own, which requests wait for: what the executor knows of a model.
pub(crate) struct Instances {
    /// Key in the executor.
    pub(crate) key: usize,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) lane: Lane,
    /// Share of execution time among models that are ready at once.
    pub(crate) weight: u32,
    /// Whether requests share batches.
    pub(crate) merges: bool,
    /// Whether rows differ in size: what a run costs is told apart by that.
    pub(crate) varies: bool,
    pub(crate) policy: BatchPolicy,
    /// How it is watched, if it is.
    pub(crate) watch: Option<Box<Watch>>,
    /// What its instances need before they may run, where they need anything and the rate limiter is on.
    pub(crate) limited: Option<Limited>,
    /// The last to be dropped: the files that came with the model are in it.
    pub(crate) served: Arc<Served>,
}

impl Instances {
    /// The answer, and the rows that it took.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        executor: &Arc<Executor>,
        request: InferRequest,
    ) -> Result<(Took, InferResponse), EngineError> {
        let lane = match &self.lane {
            Lane::Batches(lane) => lane,
            // Boxed, so that the future of an ordinary request is no larger for it.
            Lane::Sequences(lane) => {
                let (rows, response) = Box::pin(self.answer_in_sequence(executor, lane, request)).await?;
                return Ok((Took::run(rows), response));
            }
        };
        // Of a request's place in a sequence no key knows; there are none where it could matter.
        if let Some(cache) = self.served.cache.as_deref().filter(|_| request.sequence.is_none()) {
            let (asking, inputs, outputs) = Asking::of(request);
            let admitted = self.served.interface.admit(inputs, &outputs)?;
            let place = OnInstances { instances: self, executor, lane, cache };
            let (looked, refreshing) = cached::look_up(&place, asking, admitted);
            if let Some(refreshing) = refreshing {
                self.refresh(executor, refreshing);
            }
            return match looked {
                Looked::Known(took, response) => Ok((took, response)),
                // Boxed, so that the future of other requests is no larger for it.
                Looked::Unknown(searching) => Box::pin(cached::search(&place, searching)).await,
            };
        }
        let InferRequest { id, request_id, identity, parameters, priority, timeout, arrived, .. } = request;
        let Admitted { inputs, rows, outputs } =
            self.served.interface.admit(request.inputs, &request.outputs)?;
        let deadline = timeout.and_then(|timeout| arrived.checked_add(timeout));
        let about = self.model.reads_requests().then(|| {
            let told = BatchRequest { id: id.clone(), parameters, sequence: request.sequence, rows };
            Box::new(About { request: told, answers: None })
        });
        let priority = self.policy.capped(priority, request.highest_priority);
        let entry = Entry { request_id, identity, inputs, rows, priority, deadline, about };
        let answer = self.run_entry((executor, lane), entry, arrived).await?;
        Ok((Took::run(rows), self.served.respond(id, answer, &outputs)))
    }

    /// Runs an admitted request: right here where that is cheaper than to hand it over, or when its turn comes.
    pub(crate) async fn run_entry(
        &self,
        (executor, lane): (&Executor, &BatchLane),
        entry: Entry,
        arrived: Instant,
    ) -> Reply {
        let size = Size { rows: entry.rows, bucket: self.bucket(&entry.inputs) };
        let Some(slot) = lane.take_inline(size, arrived) else {
            return self.run_queued(executor, lane, entry).await;
        };
        let Entry { inputs, about, .. } = entry;
        let (reply, again) = self.run_inline(lane, (inputs, size), about, slot);
        if again {
            executor.schedule(self);
        }
        reply
    }

    /// How large the rows of a request are.
    fn bucket(&self, inputs: &JobInputs) -> ShapeBucket {
        if self.varies {
            shape_bucket(inputs, self.served.interface.max_rows.is_some())
        } else {
            ShapeBucket::NONE
        }
    }

    async fn run_queued(&self, executor: &Executor, lane: &BatchLane, entry: Entry) -> Reply {
        let (priority, deadline) = (entry.priority, entry.deadline);
        // From before its run can be written off.
        let watched = self.watch.as_deref().filter(|_| self.has_limit()).map(Watch::hear_written_off);
        let (reply, caller) = oneshot::channel();
        let (place, queued) = self.enqueue((executor, lane), entry, reply)?;
        let waiting = Waiting { lane, place, armed: true };
        let queue_timeout =
            queue_timeout(&self.policy, priority).and_then(|timeout| queued.checked_add(timeout));
        let limits = Limits { queued, queue_timeout, deadline };
        match watched {
            None => self.wait(caller, waiting, limits).await,
            // Boxed, so that the future of other requests is no larger for it.
            Some(written_off) => Box::pin(self.wait_watched(caller, waiting, limits, written_off)).await,
        }
    }

    /// [`Self::wait`] that ends, too, when the run is written off.
    async fn wait_watched(
        &self,
        caller: oneshot::Receiver<Reply>,
        waiting: Waiting<'_>,
        limits: Limits,
        mut written_off: watch::Receiver<u64>,
    ) -> Reply {
        let (lane, id) = (waiting.lane, waiting.place.id());
        let abandoned = async {
            while written_off.changed().await.is_ok() {
                if lane.is_abandoned(id) {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            reply = self.wait(caller, waiting, limits) => reply,
            () = abandoned => Err(self.execution_limit()),
        }
    }

    /// Whether the run at a place that has just ended on this thread had been written off, and another has its place.
    pub(crate) fn was_replaced(&self, place: usize) -> bool {
        self.has_limit() && self.batch_lane().is_some_and(|lane| lane.was_replaced(place))
    }

    /// What callers are told of a run that takes longer than it may.
    pub(crate) fn execution_limit(&self) -> EngineError {
        let limit = self
            .watch
            .as_ref()
            .and_then(|watch| watch.limit)
            .map_or(Duration::ZERO, |limit| limit.limit);
        let limit_milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        EngineError::ExecutionLimit { model: self.served.interface.model.clone(), limit_milliseconds }
    }

    /// Whether its runs may take so long and no longer.
    pub(crate) fn has_limit(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.limit.is_some())
    }

    /// The run at a place only waits from now on: that does not count as time of its.
    pub(crate) fn pause(&self, place: usize) {
        if let Some(lane) = self.batch_lane() {
            lane.pause(place);
        }
    }

    /// The run at a place has waited, and begins.
    pub(crate) fn go_on(&self, place: usize) {
        if let Some(lane) = self.batch_lane() {
            lane.go_on(place, Instant::now());
        }
    }

    /// Whether the watchdog looks after it, if there is one.
    pub(crate) fn is_watched(&self) -> bool {
        self.watch.is_some() || self.batch_lane().is_some_and(BatchLane::runs_inline)
    }

    /// Whether there has to be a watchdog for it, even while nothing goes wrong.
    pub(crate) fn needs_watchdog(&self) -> bool {
        self.batch_lane().is_some_and(BatchLane::runs_inline)
            || self
                .watch
                .as_ref()
                .is_some_and(|watch| watch.limit.is_some() || watch.self_check.is_some())
    }

    /// Whether requests may be put to it: unless it says that it can't answer, or all of its instances hang.
    pub(crate) fn usable(&self) -> Result<(), Unready> {
        self.able()?;
        if self.batch_lane().is_some_and(BatchLane::all_hang) {
            return Err(broken(STUCK.into()));
        }
        self.watch.as_ref().map_or(Ok(()), |watch| watch.usable())
    }

    /// Whether it answers, as far as is known.
    pub(crate) fn healthy(&self) -> Result<(), Unready> {
        self.able()?;
        if self.batch_lane().is_some_and(|lane| lane.hanging() > 0) {
            return Err(broken("an execution does not end".into()));
        }
        self.watch.as_ref().map_or(Ok(()), |watch| watch.healthy())
    }

    /// Whether the model itself says that it can answer.
    fn able(&self) -> Result<(), Unready> {
        self.model.unready().map_or(Ok(()), |reason| Err(broken(reason)))
    }

    /// The lane of a model whose requests are independent of each other, as those of decoupled models are.
    pub(crate) fn batch_lane(&self) -> Option<&BatchLane> {
        match &self.lane {
            Lane::Batches(lane) => Some(lane),
            Lane::Sequences(_) => None,
        }
    }

    /// Puts a request into the queue. Returns its place there, and when it got it.
    pub(crate) fn enqueue(
        &self,
        place: (&Executor, &BatchLane),
        entry: Entry,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(Place, Instant), EngineError> {
        self.offer(place, entry, reply).map_err(|reason| self.refusal(place.1, &reason))
    }

    /// The same, of which a refusal counts as nobody's.
    pub(crate) fn offer(
        &self,
        (executor, lane): (&Executor, &BatchLane),
        entry: Entry,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(Place, Instant), NotQueued> {
        let Entry { request_id, identity, inputs, rows, priority, deadline, about } = entry;
        let flow = identity.as_deref().and_then(flow::of);
        let class = if self.merges { shape_class(&inputs) } else { ShapeClass::default() };
        let class = class.in_bucket(self.bucket(&inputs));
        let queued = Instant::now();
        let _waiting = self.served.metrics().wait_in_queue();
        let job = Job { id: lane.next_id(), request_id, inputs, about, queued, reply, _waiting };
        let offer = Offer { rows, class, priority, timeout: None, deadline, flow, payload: job };
        let Queued { place, schedule, displaced } = lane.push(offer, queued)?;
        if schedule {
            executor.schedule(self);
        }
        if !displaced.is_empty() {
            self.refuse_displaced(lane, displaced);
        }
        Ok((place, queued))
    }

    /// Answers jobs that had to make room for one of higher priority.
    fn refuse_displaced(&self, lane: &BatchLane, displaced: Vec<Job>) {
        let retry_after = retry_after(lane);
        for job in displaced {
            self.served.shed(ShedReason::Displaced);
            let model = self.served.interface.model.clone();
            // A caller that has gone needs no answer.
            let _ = job.reply.send(Err(EngineError::Displaced { model, retry_after }));
        }
    }

    /// Waits for the reply, no longer than the limits allow.
    async fn wait(
        &self,
        mut caller: oneshot::Receiver<Reply>,
        mut waiting: Waiting<'_>,
        limits: Limits,
    ) -> Reply {
        if let Some(at) =
            limits.queue_timeout.filter(|at| limits.deadline.is_none_or(|deadline| *at < deadline))
        {
            if let Ok(reply) = tokio::time::timeout_at(at.into(), &mut caller).await {
                return waiting.done(reply.unwrap_or(Err(EngineError::Closing)));
            }
            if waiting.lane.cancel(waiting.place) {
                return waiting.done(Err(self.queue_timeout(limits.queued)));
            }
        }
        let reply = match limits.deadline {
            None => caller.await,
            Some(at) => match tokio::time::timeout_at(at.into(), caller).await {
                Ok(reply) => reply,
                // Dropping `waiting` takes the job out.
                Err(_) => return Err(self.deadline_exceeded(limits.queued)),
            },
        };
        waiting.done(reply.unwrap_or(Err(EngineError::Closing)))
    }

    pub(crate) fn deadline_exceeded(&self, queued: Instant) -> EngineError {
        self.served.deadline_exceeded(queued)
    }

    pub(crate) fn queue_timeout(&self, queued: Instant) -> EngineError {
        let waited_microseconds = microseconds(queued.elapsed());
        EngineError::QueueTimeout { model: self.served.interface.model.clone(), waited_microseconds }
    }

    fn refusal(&self, lane: &BatchLane, reason: &NotQueued) -> EngineError {
        let model = self.served.interface.model.clone();
        match *reason {
            NotQueued::Closed => EngineError::Unloaded { model: (&*model).into() },
            NotQueued::Refused(RefusedReason::QueueFull { limit, what }) => {
                self.served.shed(ShedReason::QueueFull);
                EngineError::QueueFull { model, limit, what, retry_after: retry_after(lane) }
            }
            NotQueued::TooLate(reason) => {
                self.served.shed(match reason {
                    TooLate::QueueTime { .. } => ShedReason::QueueTime,
                    TooLate::Deadline { .. } | TooLate::Impossible { .. } => ShedReason::Deadline,
                });
                EngineError::TooLate { model, reason }
            }
            NotQueued::Refused(RefusedReason::TooManyRows { rows, max }) => {
                EngineError::TooManyRows { model, rows, max }
            }
        }
    }
}

/// What clients are told of a model whose executions hang.
pub(crate) const STUCK: &str = "its executions do not end";

/// How long what waits will take; a second, where that can't be said.
fn retry_after(lane: &BatchLane) -> Duration {
    lane.backlog().unwrap_or(Duration::from_secs(1))
}

/// An admitted request on its way into the queue.
pub(crate) struct Entry {
    pub(crate) request_id: RequestId,
    /// Whose share of the queue it takes.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) inputs: JobInputs,
    pub(crate) rows: usize,
    /// No higher than its identity may have.
    pub(crate) priority: u64,
    pub(crate) deadline: Option<Instant>,
    pub(crate) about: Option<Box<About>>,
}

/// Until when a request may wait.
struct Limits {
    queued: Instant,
    queue_timeout: Option<Instant>,
    deadline: Option<Instant>,
}

/// A caller that waits for its job. Dropped before the reply came, it cancels the job.
struct Waiting<'a> {
    lane: &'a BatchLane,
    place: Place,
    armed: bool,
}

impl Waiting<'_> {
    fn done(&mut self, reply: Reply) -> Reply {
        self.armed = false;
        reply
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.lane.cancel(self.place);
        }
    }
}

pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
