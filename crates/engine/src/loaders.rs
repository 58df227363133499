use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use adulis_telemetry::panic_message;
use parking_lot::{Condvar, Mutex};

/// Loads and unloads that may wait on behalf of clients.
pub(crate) const MAX_WAITING: usize = 256;

/// Threads on which models are loaded and unloaded: as many as are needed, up to a limit, and none while there is
/// nothing to do. The tasks of one model run one after the other, in the order in which they came, and a task may wait for
/// those of other models that came before it.
pub(crate) struct Loaders {
    state: Mutex<State>,
    ended: Condvar,
    limit: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    /// Models whose tasks are being run.
    busy: HashSet<Arc<str>>,
    threads: usize,
    closed: bool,
}

struct Task {
    model: Arc<str>,
    /// Models whose tasks that came before this one are done first.
    after: Vec<Arc<str>>,
    work: Box<dyn FnOnce() + Send>,
}

/// Why a task was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// [`MAX_WAITING`] tasks are waiting.
    Full,
    /// The engine is draining or closing.
    Closed,
    /// There is no thread, and none can be started.
    NoThread(String),
}

impl Loaders {
    /// At most `limit` threads at a time.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let limit = limit.max(1);
        Arc::new(Self { state: Mutex::default(), ended: Condvar::new(), limit })
    }

    /// Has a thread do something for a model, after what it has to do for that model already.
    ///
    /// # Errors
    /// [`NotTaken::Closed`] and [`NotTaken::NoThread`]. The work is dropped.
    pub(crate) fn submit(
        self: &Arc<Self>,
        model: &Arc<str>,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), NotTaken> {
        self.submit_after(model, Vec::new(), work)
    }

    /// The same, after what has been taken for other models, too.
    ///
    /// # Errors
    /// As [`Loaders::submit`].
    pub(crate) fn submit_after(
        self: &Arc<Self>,
        model: &Arc<str>,
        after: Vec<Arc<str>>,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), NotTaken> {
        self.take(Task { model: Arc::clone(model), after, work: Box::new(work) }, usize::MAX)
    }

    /// The same on behalf of a client: refused with [`NotTaken::Full`] if too much is waiting already.
    pub(crate) fn submit_bounded(
        self: &Arc<Self>,
        model: &Arc<str>,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), NotTaken> {
        let task = Task { model: Arc::clone(model), after: Vec::new(), work: Box::new(work) };
        self.take(task, MAX_WAITING)
    }

    fn take(self: &Arc<Self>, task: Task, limit: usize) -> Result<(), NotTaken> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(NotTaken::Closed);
        }
        if state.waiting.len() >= limit {
            return Err(NotTaken::Full);
        }
        state.waiting.push_back(task);
        match self.start_thread(&mut state) {
            Err(error) if state.threads == 0 => {
                state.waiting.pop_back();
                Err(NotTaken::NoThread(error.to_string()))
            }
            // The threads that there are will come to it.
            _ => Ok(()),
        }
    }

    /// Starts one more thread if it would have something to do and the limit allows it.
    fn start_thread(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        if state.threads >= self.limit || state.next().is_none() {
            return Ok(());
        }
        let loaders = Arc::clone(self);
        thread::Builder::new().name("adulis-load".to_owned()).spawn(move || loaders.work())?;
        state.threads += 1;
        Ok(())
    }

    /// Whether anything is being done for a model, or waits to be.
    pub(crate) fn is_busy(&self, model: &str) -> bool {
        let state = self.state.lock();
        state.busy.contains(model) || state.waiting.iter().any(|task| &*task.model == model)
    }

    fn work(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while let Some(index) = state.next()
            && let Some(Task { model, work, .. }) = state.waiting.remove(index)
        {
            state.busy.insert(Arc::clone(&model));
            // Several may have waited for the model that is done. Without another thread, this one comes to them.
            let _ = self.start_thread(&mut state);
            drop(state);
            // Backends' panics end where they are called; this one would be our own fault, and must not cost the thread.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                let reason = panic_message(&*panic);
                tracing::error!(%model, reason, "a loader thread caught a panic of the engine");
            }
            state = self.state.lock();
            state.busy.remove(&model);
        }
        state.threads -= 1;
        self.ended.notify_all();
    }

    /// Does `count` things, several at a time as far as the limit leaves room for further threads. For use on one of the
    /// threads.
    pub(crate) fn several<T: Send>(
        self: &Arc<Self>,
        count: usize,
        one: impl Fn(usize) -> T + Sync,
    ) -> Vec<T> {
        let done = Mutex::new(Vec::with_capacity(count));
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|next| *next < count) {
                let result = one(index);
                done.lock().push((index, result));
            }
        };
        let helpers = Helpers::borrow(self, count.saturating_sub(1));
        thread::scope(|scope| {
            for _ in 0..helpers.count {
                let thread = thread::Builder::new().name("adulis-load".to_owned());
                // Without it, the others do its part.
                if thread.spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        drop(helpers);
        let mut done = done.into_inner();
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// Drops what waits, and takes nothing more. What is being done goes on.
    pub(crate) fn refuse(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }

    /// The same, and waits for what is being done.
    pub(crate) fn close(&self) {
        self.refuse();
        let mut state = self.state.lock();
        while state.threads > 0 {
            self.ended.wait(&mut state);
        }
    }
}

impl State {
    /// The first task that waits for no other.
    fn next(&self) -> Option<usize> {
        let mut before = HashSet::new();
        self.waiting.iter().position(|task| {
            let waits_for = |model: &Arc<str>| self.busy.contains(model) || before.contains(model);
            let free = !waits_for(&task.model) && !task.after.iter().any(waits_for);
            if !free {
                before.insert(Arc::clone(&task.model));
            }
            free
        })
    }
}

/// Threads beside the pool's own that count towards its limit.
struct Helpers<'a> {
    loaders: &'a Arc<Loaders>,
    count: usize,
}

impl<'a> Helpers<'a> {
    fn borrow(loaders: &'a Arc<Loaders>, wanted: usize) -> Self {
        let mut state = loaders.state.lock();
        let count = wanted.min(loaders.limit.saturating_sub(state.threads));
        state.threads += count;
        Self { loaders, count }
    }
}

impl Drop for Helpers<'_> {
    fn drop(&mut self) {
        let mut state = self.loaders.state.lock();
        state.threads -= self.count;
        // What came while they were lent may need a thread now. Without one, the thread that lent them comes to it.
        let _ = self.loaders.start_thread(&mut state);
    }
}

#[cfg(test)]
mod tests;
