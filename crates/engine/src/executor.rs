mod threads;
mod timers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use adulis_backend::lend_this_thread;
use adulis_batcher::{FairQueue, LimitFault};
use adulis_repository::ModelConfig;
use adulis_telemetry::ServingMetrics;
use parking_lot::{Condvar, Mutex};

use self::threads::{ExecutionThread, Threads};
use self::timers::Timers;
use crate::instances::Instances;
use crate::lane::{Bound, Next, Shed};
use crate::rate::{Limited, Permit, RateLimit, RateLimiter};
use crate::watch::StuckThreads;

/// The execution threads of one device, and which model they turn to next.
///
/// Threads are shared by all models: each takes the ready model whose turn it is (by priority, then by fair shares
/// of execution time), runs one batch of it, and comes back.
pub(crate) struct Executor {
    pool: Mutex<Pool>,
    wake: Condvar,
    metrics: ServingMetrics,
    /// Execution threads, but for those that are stuck.
    threads: Mutex<Threads>,
    stuck: StuckThreads,
    /// Runs of decoupled models, which have threads of their own.
    runs: Mutex<Vec<JoinHandle<()>>>,
    /// `None` where nothing is limited.
    limiter: Option<RateLimiter>,
}

struct Pool {
    ready: FairQueue<usize>,
    /// Registered models; the index is the key in `ready`.
    models: Vec<Option<Arc<Instances>>>,
    /// Keys that nobody has.
    unused: Vec<usize>,
    timers: Timers,
    /// When the sleeping threads that watch a timer will wake.
    watched: Vec<Instant>,
    idle: usize,
    /// Idle threads that have been woken and are not running yet.
    waking: usize,
    closing: bool,
}

/// A run of a decoupled model, with what it gives back at its end.
type Apart = (Arc<Instances>, Bound, Option<Permit>);

/// Whether a thread goes on.
enum Stay {
    Yes,
    /// It was stuck, and another one has its place.
    Replaced,
}

impl Executor {
    pub(crate) fn new(metrics: ServingMetrics, limit: &RateLimit, max_stuck_threads: usize) -> Arc<Self> {
        Arc::new(Self {
            pool: Mutex::new(Pool::new()),
            wake: Condvar::new(),
            metrics,
            threads: Mutex::default(),
            stuck: StuckThreads::new(max_stuck_threads),
            runs: Mutex::default(),
            limiter: RateLimiter::new(limit),
        })
    }

    /// What a model's instances need before they may run; `None` where that is nothing, or nothing is limited.
    pub(crate) fn limited(&self, config: &ModelConfig) -> Option<Limited> {
        let limited = Limited::new(config)?;
        if self.limiter.is_none() {
            tracing::info!(model = %config.name, "rate_limiter.resources has no effect while engine.rate_limit is off");
        }
        self.limiter.as_ref().map(|_| limited)
    }

    /// Starts `count` threads. They end when [`Executor::close`] is called.
    pub(crate) fn start(self: &Arc<Self>, count: usize) -> std::io::Result<()> {
        self.metrics.execution_threads().set(i64::try_from(count).unwrap_or(i64::MAX));
        let mut threads = self.threads.lock();
        (0..count).try_for_each(|_| threads.start(self))
    }

    /// Has a new thread in the place of one that is stuck in a run; that one ends if the run ever does. `false` if as many are
    /// stuck already as may be, or no thread can be had.
    pub(crate) fn replace(self: &Arc<Self>, stuck: ThreadId) -> bool {
        if !self.stuck.add() {
            return false;
        }
        let mut threads = self.threads.lock();
        if let Err(error) = threads.stand_in(self, stuck) {
            tracing::error!(%error, "no thread in the place of one that is stuck");
            self.stuck.remove();
            return false;
        }
        // Nobody waits for its end any more.
        threads.forget(stuck);
        self.metrics.execution_threads_stuck().inc();
        true
    }

    /// The models that are to be watched.
    pub(crate) fn watched(&self) -> Vec<Arc<Instances>> {
        let pool = self.pool.lock();
        pool.models.iter().flatten().filter(|model| model.is_watched()).cloned().collect()
    }

    /// Waits for the threads, after [`Executor::close`]. Those that are stuck in runs that were written off are not waited for.
    pub(crate) fn join(&self) {
        const LOOK_EVERY: Duration = Duration::from_millis(1);
        loop {
            let (ended, left) = self.threads.lock().take_ended();
            for thread in ended {
                if thread.join().is_err() {
                    tracing::error!("an execution thread panicked");
                }
            }
            if left == 0 {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Makes a model known, with the key that it gets.
    ///
    /// # Errors
    /// If its instances need more of a resource than there is.
    pub(crate) fn register(
        &self,
        make: impl FnOnce(usize) -> Arc<Instances>,
    ) -> Result<Arc<Instances>, LimitFault> {
        let mut pool = self.pool.lock();
        let key = pool.unused.pop().unwrap_or(pool.models.len());
        let model = make(key);
        if let (Some(limiter), Some(limited)) = (&self.limiter, &model.limited) {
            match limiter.register(key, limited) {
                Ok(granted) => self.activate_in(&mut pool, &granted),
                Err(fault) => {
                    if key < pool.models.len() {
                        pool.unused.push(key);
                    }
                    return Err(fault);
                }
            }
        }
        if key == pool.models.len() {
            pool.models.push(None);
        }
        pool.models[key] = Some(Arc::clone(&model));
        Ok(model)
    }

    /// Forgets a model if nobody but its serving model holds it, or (`at_once`) in any case. Its key may then be given to
    /// another: no thread has the model or can get it, and its timers, if any, will find nothing.
    ///
    /// The caller must have seen to it that nobody else has the serving model or gets it from elsewhere any more.
    pub(crate) fn retire(&self, model: &Arc<Instances>, at_once: bool) -> bool {
        // The serving model's reference and the one below. Threads take theirs under the pool's lock, and work that has
        // been scheduled has a request that holds the serving model.
        const HELD_HERE: usize = 2;
        let mut pool = self.pool.lock();
        if Arc::strong_count(model) > HELD_HERE && !at_once {
            return false;
        }
        let there = pool.models.get_mut(model.key).and_then(Option::take);
        debug_assert!(there.is_some_and(|there| Arc::ptr_eq(&there, model)), "retired twice");
        pool.ready.remove(model.key);
        pool.timers.remove(model.key);
        if let (Some(limiter), Some(_)) = (&self.limiter, &model.limited) {
            let granted = limiter.unregister(model.key);
            self.activate_in(&mut pool, &granted);
        }
        pool.unused.push(model.key);
        true
    }

    /// A model has work: some thread is to look at it.
    pub(crate) fn schedule(&self, model: &Instances) {
        let mut pool = self.pool.lock();
        pool.ready.activate(model.key, 0, model.weight);
        if pool.wake_one() {
            drop(pool);
            self.wake.notify_one();
        }
    }

    /// Ends all threads once they are done with what they run.
    pub(crate) fn close(&self) {
        self.pool.lock().closing = true;
        self.wake.notify_all();
    }

    fn work(self: &Arc<Self>) {
        let thread = Rc::new(ExecutionThread::new(self));
        lend_this_thread(thread.clone());
        while let Some(model) = self.next_model() {
            // Backends' panics end at the instance; this one would be our own fault, and must not cost a thread.
            match catch_unwind(AssertUnwindSafe(|| self.look_at(&model, &thread))) {
                Ok(Stay::Yes) => {}
                Ok(Stay::Replaced) => return,
                Err(_) => {
                    thread.ended();
                    tracing::error!(model = %model.served.interface.model, "an execution thread caught a panic of the engine");
                }
            }
            if thread.has_stand_in() {
                return;
            }
        }
    }

    /// Waits for the runs of decoupled models. Their answers find nobody by now.
    pub(crate) fn join_runs(&self) {
        for run in self.runs.lock().drain(..) {
            if run.join().is_err() {
                tracing::error!("a run of a decoupled model panicked outside of its instance");
            }
        }
    }

    /// Runs a batch of a decoupled model on a thread of its own: its answers wait for clients, which may take any time, and
    /// an execution thread must not. There are at most as many such threads as the model has instances.
    fn run_apart(self: &Arc<Self>, run: Apart) {
        // Kept outside of the closure: where no thread can be had, the run is done here.
        let work = Arc::new(Mutex::new(Some(run)));
        let (executor, taken) = (Arc::clone(self), Arc::clone(&work));
        let run = move || {
            let taken = taken.lock().take();
            executor.run_decoupled(taken);
        };
        match thread::Builder::new().name("adulis-decoupled".to_owned()).spawn(run) {
            Ok(thread) => {
                let mut runs = self.runs.lock();
                runs.retain(|run| !run.is_finished());
                runs.push(thread);
            }
            Err(error) => {
                tracing::warn!(%error, "no thread for a decoupled model: it runs on an execution thread");
                let left = work.lock().take();
                self.run_decoupled(left);
            }
        }
    }

    fn run_decoupled(&self, run: Option<Apart>) {
        // The permit is bound last, and so gives back before the model may go.
        let Some((model, bound, permit)) = run else {
            return;
        };
        let again = model.run_decoupled(bound);
        drop(permit);
        if again {
            self.schedule(&model);
        }
    }

    fn look_at(self: &Arc<Self>, model: &Arc<Instances>, thread: &ExecutionThread) -> Stay {
        let mut shed = Shed::default();
        // Before anything is bound: what waits for resources is looked at again when it has them.
        let Ok(mut permit) = Permit::take(self, model) else {
            return Stay::Yes;
        };
        let next = model.lane.next(Instant::now(), &mut shed);
        model.refuse(shed);
        match next {
            Next::Nothing => {}
            Next::Later(at) => self.pool.lock().timers.set(at, model.key),
            Next::Run { bound, more } => {
                permit.iter_mut().for_each(Permit::used);
                if more {
                    self.schedule(model);
                }
                if model.model.is_decoupled() {
                    self.run_apart((Arc::clone(model), bound, permit));
                    return Stay::Yes;
                }
                let place = bound.slot.index;
                self.metrics.execution_threads_busy().inc();
                let started = Instant::now();
                thread.begins(model, place);
                let again = model.run(bound);
                drop(permit);
                let ran = started.elapsed().saturating_sub(thread.ended());
                self.pool.lock().ready.charge(model.key, ran);
                if again {
                    self.schedule(model);
                }
                self.metrics.execution_threads_busy().dec();
                if model.was_replaced(place) {
                    self.stuck.remove();
                    self.metrics.execution_threads_stuck().dec();
                    return Stay::Replaced;
                }
            }
        }
        Stay::Yes
    }

    /// Has threads look at models that may run now.
    pub(crate) fn activate(&self, keys: &[usize]) {
        if !keys.is_empty() {
            self.activate_in(&mut self.pool.lock(), keys);
        }
    }

    fn activate_in(&self, pool: &mut Pool, keys: &[usize]) {
        for key in keys {
            let Some(weight) = pool.weight(*key) else {
                continue;
            };
            pool.ready.activate(*key, 0, weight);
            if pool.wake_one() {
                self.wake.notify_one();
            }
        }
    }

    /// The limiter of this executor; `None` where nothing is limited.
    pub(crate) fn limiter(&self) -> Option<&RateLimiter> {
        self.limiter.as_ref()
    }

    /// Waits for the model whose turn it is; `None` when the threads are to end.
    fn next_model(&self) -> Option<Arc<Instances>> {
        let mut pool = self.pool.lock();
        loop {
            if pool.closing {
                return None;
            }
            pool.run_timers();
            if let Some(model) = pool.take() {
                if pool.timer_unwatched() && pool.wake_one() {
                    drop(pool);
                    self.wake.notify_one();
                }
                return Some(model);
            }
            pool.idle += 1;
            match pool.timers.next() {
                Some(at) => {
                    pool.watched.push(at);
                    self.wake.wait_until(&mut pool, at);
                    if let Some(index) = pool.watched.iter().position(|watched| *watched == at) {
                        pool.watched.swap_remove(index);
                    }
                }
                None => self.wake.wait(&mut pool),
            }
            pool.idle -= 1;
            pool.waking = pool.waking.saturating_sub(1);
        }
    }
}

impl Pool {
    fn new() -> Self {
        Self {
            ready: FairQueue::new(),
            models: Vec::new(),
            unused: Vec::new(),
            timers: Timers::default(),
            watched: Vec::new(),
            idle: 0,
            waking: 0,
            closing: false,
        }
    }

    /// Whether an idle thread has to be woken for new work; counts it as waking.
    fn wake_one(&mut self) -> bool {
        let wake = self.idle > self.waking;
        self.waking += usize::from(wake);
        wake
    }

    /// Whether the earliest timer would pass without a sleeping thread noticing.
    fn timer_unwatched(&self) -> bool {
        self.timers
            .next()
            .is_some_and(|earliest| self.watched.iter().all(|watched| *watched > earliest))
    }

    /// The weight of a model, if there is one of this key.
    fn weight(&self, key: usize) -> Option<u32> {
        self.models.get(key)?.as_ref().map(|model| model.weight)
    }

    fn run_timers(&mut self) {
        if self.timers.next().is_none() {
            return;
        }
        let now = Instant::now();
        while let Some(key) = self.timers.due(now) {
            if let Some(weight) = self.weight(key) {
                self.ready.activate(key, 0, weight);
            }
        }
    }

    fn take(&mut self) -> Option<Arc<Instances>> {
        while let Some(key) = self.ready.next() {
            if let Some(model) = self.models.get(key).and_then(Option::as_ref) {
                return Some(Arc::clone(model));
            }
        }
        None
    }
}
