//! The thread that looks after runs that take too long, and tries models that did not answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use adulis_backend::BatchRequest;
use adulis_telemetry::ExecutionStop;
use adulis_types::RequestId;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::EngineError;
use crate::decoupled::About;
use crate::executor::Executor;
use crate::instance::Slot;
use crate::instances::{Entry, Instances, STUCK};
use crate::lane::{BatchLane, INLINE_PATIENCE, Lane, NewPlace, NotQueued, Overdue};
use crate::watch::{self, Trial, Ward, Watch};

/// Between two looks at a trial that is under way, and the shortest time between any two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a model has to answer a self-check, where its runs have no limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks after the models that want to be watched. There is no thread before there is such a model, or a run has broken.
#[derive(Clone)]
pub(crate) struct Watchdog(Arc<Shared>);

struct Shared {
    executor: Weak<Executor>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closing: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Watchdog {
    /// For the models of this executor.
    pub(crate) fn new(executor: &Arc<Executor>) -> Self {
        Self(Arc::new(Shared {
            executor: Arc::downgrade(executor),
            thread: Mutex::default(),
            closing: AtomicBool::new(false),
            lock: Mutex::default(),
            wake: Condvar::new(),
        }))
    }

    /// A model is to be looked at, from now on or because a run broke. It is found in the executor.
    pub(crate) fn watch(&self) {
        let mut running = self.0.thread.lock();
        if running.is_some() {
            // The time to the next look may be too long for this model.
            let _in_turn = self.0.lock.lock();
            self.0.wake.notify_one();
            return;
        }
        let Some(executor) = self.0.executor.upgrade().filter(|_| !self.0.closing.load(Ordering::SeqCst))
        else {
            return;
        };
        let shared = Arc::clone(&self.0);
        let started = thread::Builder::new()
            .name("adulis-watchdog".to_owned())
            .spawn(move || shared.run(&executor));
        match started {
            Ok(thread) => *running = Some(thread),
            Err(error) => tracing::error!(%error, "no thread to watch models with: runs have no limit"),
        }
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.0.closing.store(true, Ordering::SeqCst);
        {
            let _in_turn = self.0.lock.lock();
            self.0.wake.notify_one();
        }
        let thread = self.0.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the watchdog panicked");
        }
    }
}

impl Shared {
    fn run(&self, executor: &Arc<Executor>) {
        let mut turn = self.lock.lock();
        while !self.closing.load(Ordering::SeqCst) {
            let now = Instant::now();
            let next = executor.watched().iter().filter_map(|model| look(executor, model, now)).min();
            match next {
                Some(next) => {
                    self.wake.wait_until(&mut turn, next.max(now + LOOK_EVERY));
                }
                None => self.wake.wait(&mut turn),
            }
            // A model whose every run breaks wakes this thread with each of them.
            let early = LOOK_EVERY.saturating_sub(now.elapsed());
            if !early.is_zero() && !self.closing.load(Ordering::SeqCst) {
                MutexGuard::unlocked(&mut turn, || thread::sleep(early));
            }
        }
    }
}

/// Looks at one model, and says when to look again.
fn look(executor: &Arc<Executor>, model: &Arc<Instances>, now: Instant) -> Option<Instant> {
    let Lane::Batches(lane) = &model.lane else {
        return None;
    };
    let inline = lane.runs_inline().then(|| {
        look_at_inline(model, lane, now);
        now + INLINE_PATIENCE
    });
    let watched = model
        .watch
        .as_deref()
        .and_then(|watch| look_at_watched(executor, model, (watch, lane), now));
    inline.into_iter().chain(watched).min()
}

/// Tells of runs that hang on the threads where their requests arrived.
fn look_at_inline(model: &Instances, lane: &BatchLane, now: Instant) {
    if lane.look_after_inline(now) == 0 {
        return;
    }
    let served = &model.served;
    tracing::error!(
        model = %served.interface.model, version = served.version,
        "a run hangs on an I/O thread, which serves nobody until it ends: a model with a max_execution_time does not run there"
    );
    if lane.all_hang() {
        refuse_waiting(model, lane);
    }
}

/// Answers what waits for a model that has nothing left to run it on.
fn refuse_waiting(model: &Instances, lane: &BatchLane) {
    for job in lane.drain() {
        let model = (&*model.served.interface.model).into();
        // A caller that has gone needs no answer.
        let _ = job.reply.send(Err(EngineError::NotReady { model, reason: STUCK.into() }));
    }
}

/// Looks at a model that is to be watched, and says when to look again.
fn look_at_watched(
    executor: &Arc<Executor>,
    model: &Arc<Instances>,
    (watch, lane): (&Watch, &BatchLane),
    now: Instant,
) -> Option<Instant> {
    let mut ward = watch.ward.lock();
    let mut next = None;
    if let Some(limit) = watch.limit {
        let found = lane.look_after(limit, now);
        for overdue in found.overdue {
            see_to(executor, model, (watch, lane, &mut *ward), overdue);
        }
        next = Some(found.next);
    }
    check(executor, model, (watch, lane), &mut ward);
    let trial = ward.trial.as_ref().map(|_| now + LOOK_EVERY);
    [next, trial, ward.next].into_iter().flatten().min()
}

/// Tells what happened to a run that took too long, and makes up for it.
fn see_to(
    executor: &Arc<Executor>,
    model: &Arc<Instances>,
    (watch, lane, ward): (&Watch, &BatchLane, &mut Ward),
    overdue: Overdue,
) {
    let served = &model.served;
    let (name, version) = (&served.interface.model, served.version);
    let stuck = match overdue {
        Overdue::Stuck(run) => run,
        Overdue::Killed => {
            served.stopped(ExecutionStop::Killed);
            tracing::error!(model = %name, version, "a run does not end and is ended with its worker process");
            return;
        }
        Overdue::Interrupted => {
            served.stopped(ExecutionStop::Interrupted);
            tracing::warn!(model = %name, version, "a run takes longer than it may (max_execution_time) and is stopped");
            return;
        }
    };
    let Some(new_place) = lane.write_off(stuck, |thread| executor.replace(thread)) else {
        return;
    };
    served.stopped(ExecutionStop::WrittenOff);
    if let Some(new_place) = new_place {
        tracing::error!(
            model = %name, version,
            "a run does not end and is written off: another thread and a new instance take its place"
        );
        watch.turn_red("an execution did not end".into(), false);
        rebuild(executor, model, new_place);
    } else {
        tracing::error!(
            model = %name, version,
            "a run does not end and is written off; as many threads are stuck as may be (engine.max_stuck_threads): the model answers nothing until it ends"
        );
        watch.turn_red(STUCK.into(), true);
        refuse_waiting(model, lane);
    }
    watch.tell_written_off();
    ward.runs = runs(model);
    ward.failed(Instant::now());
}

/// Makes an instance for a new place, on a thread of its own: that may take long, or hang in its turn.
fn rebuild(executor: &Arc<Executor>, model: &Arc<Instances>, place: NewPlace) {
    let (executor, model) = (Arc::clone(executor), Arc::clone(model));
    let NewPlace { index, sizes } = place;
    let make = move || {
        let slot = Slot::make(index, &*model.model, &sizes);
        if !slot.has_lost() {
            model.served.metrics().instance_rebuilds.inc();
        }
        if model.batch_lane().is_some_and(|lane| lane.supply(slot)) {
            executor.schedule(&model);
        }
    };
    if let Err(error) = thread::Builder::new().name("adulis-rebuild".to_owned()).spawn(make) {
        tracing::error!(%error, "no thread to make an instance in the place of one that was written off");
    }
}

/// Runs that succeeded so far.
fn runs(model: &Instances) -> u64 {
    model.served.metrics.get().map_or(0, |metrics| metrics.executions.get())
}

/// Tries the model where that is due, and draws conclusions from what ran.
fn check(
    executor: &Arc<Executor>,
    model: &Arc<Instances>,
    (watch, lane): (&Watch, &BatchLane),
    ward: &mut Ward,
) {
    let now = Instant::now();
    let doubt = watch.take_doubt();
    let runs = runs(model);
    // What succeeded before another run broke says nothing any more.
    if runs > std::mem::replace(&mut ward.runs, runs) && doubt.is_none_or(|before| runs > before) {
        return good(model, watch, ward);
    }
    // One that does not answer is tried in any case.
    if doubt.is_some() && ward.trial.is_none() && watch.healthy().is_ok() {
        ward.doubted(now);
    }
    if let Some(Trial { reply, place, since }) = &mut ward.trial {
        let is_late = since.elapsed() > patience(watch);
        match reply.try_recv() {
            Ok(Err(EngineError::Execution { .. } | EngineError::NonFiniteOutput { .. })) if !watch.proven => {
                good(model, watch, ward);
            }
            Ok(Ok(_)) => good(model, watch, ward),
            Ok(Err(EngineError::QueueTimeout { .. } | EngineError::Displaced { .. })) => {
                ward.trial = None;
                refused(model, (watch, ward));
            }
            Ok(Err(error)) => bad(model, (watch, ward), &format!("a trivial request failed: {error}")),
            Err(oneshot::error::TryRecvError::Closed) => ward.failed(now),
            Err(oneshot::error::TryRecvError::Empty) if is_late => {
                // The next one is not to wait behind it.
                lane.cancel(*place);
                bad(model, (watch, ward), "a trivial request was not answered");
            }
            Err(oneshot::error::TryRecvError::Empty) => {}
        }
        return;
    }
    if ward.next.is_some_and(|next| next <= now) {
        ward.next = None;
        try_out(executor, model, (watch, lane), ward);
    }
}

/// How long a model has to answer a trial.
fn patience(watch: &Watch) -> Duration {
    watch.limit.map_or(PATIENCE, |limit| limit.limit + limit.grace + PATIENCE)
}

fn good(model: &Instances, watch: &Watch, ward: &mut Ward) {
    if ward.trial.is_some() {
        model.served.self_checked(true);
    }
    ward.answered(Instant::now(), watch.self_check);
    if watch.turn_green() {
        let served = &model.served;
        tracing::info!(model = %served.interface.model, version = served.version, "the model answers again");
    }
}

fn bad(model: &Instances, (watch, ward): (&Watch, &mut Ward), reason: &str) {
    model.served.self_checked(false);
    ward.failed(Instant::now());
    if watch.turn_red(reason.into(), false) {
        let served = &model.served;
        tracing::error!(model = %served.interface.model, version = served.version, reason, "the model does not answer");
    }
}

/// Puts a trivial request to the model, before all others.
fn try_out(
    executor: &Arc<Executor>,
    model: &Arc<Instances>,
    (watch, lane): (&Watch, &BatchLane),
    ward: &mut Ward,
) {
    let Ok(inputs) = watch::trial(&model.served.interface) else {
        // There is nothing to try it with: only what clients ask shows that it answers.
        return;
    };
    let about = model.model.reads_requests().then(|| {
        let request = BatchRequest { rows: 1, ..BatchRequest::default() };
        Box::new(About { request, answers: None })
    });
    let (reply, receiver) = oneshot::channel();
    let entry = Entry {
        request_id: RequestId::next(),
        identity: None,
        inputs,
        rows: 1,
        priority: 1,
        deadline: None,
        about,
    };
    match model.offer((&**executor, lane), entry, reply) {
        Ok((place, since)) => {
            ward.trial = Some(Trial { reply: receiver, place, since });
            ward.tried = Some(since);
        }
        // It is on its way out.
        Err(NotQueued::Closed) => {}
        Err(_) => refused(model, (watch, ward)),
    }
}

/// A trial was not run: the model is asked so much that it shows by itself whether it answers, unless that happens again and
/// nothing is answered meanwhile.
fn refused(model: &Instances, (watch, ward): (&Watch, &mut Ward)) {
    if ward.refused(Instant::now(), patience(watch)) {
        let reason = "nothing was answered, and a trivial request found no place in the queue";
        bad(model, (watch, ward), reason);
    }
}
