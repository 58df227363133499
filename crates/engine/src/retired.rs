use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use adulis_telemetry::panic_message;
use adulis_types::ErrorKind;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::EngineError;
use crate::lifecycle::Lifecycle;
use crate::serving::ServingModel;

/// How often it is looked whether a model that takes no more requests has answered those it had.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Models that take no more requests and still have some. They are dropped, and their memory given back, when nobody
/// holds them any more: every request holds its model from the look-up until its answer, and every run until its end.
///
/// A thread looks after them while there are any.
#[derive(Default)]
pub(crate) struct Retired {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    models: Vec<Retiring>,
    is_watched: bool,
    closed: bool,
}

/// A model on its way out.
struct Retiring {
    serving: Arc<ServingModel>,
    /// From when on what still waits is refused.
    refuse_at: Option<Instant>,
    /// Told when the model is gone, or what waited was refused.
    done: Option<oneshot::Sender<()>>,
}

impl Lifecycle {
    /// Lets models finish that have been taken out of the table, and drops them then. Without a limit their queues are
    /// worked off, however long that takes; past it, what waits is refused, and what runs is let finish.
    ///
    /// The receivers are told, or dropped, when the models are gone or the limit is over. For loader threads.
    pub(crate) fn retire(
        self: &Arc<Self>,
        models: Vec<Arc<ServingModel>>,
        limit: Option<Duration>,
    ) -> Vec<oneshot::Receiver<()>> {
        if models.is_empty() {
            return Vec::new();
        }
        let refuse_at = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut receivers = Vec::with_capacity(models.len());
        let mut state = self.retired.state.lock();
        for serving in models {
            let (done, receiver) = oneshot::channel();
            receivers.push(receiver);
            state.models.push(Retiring { serving, refuse_at, done: Some(done) });
        }
        self.retired.changed.notify_all();
        if !state.is_watched {
            state.is_watched = true;
            let lifecycle = Arc::clone(self);
            let thread = thread::Builder::new().name("adulis-unload".to_owned());
            if let Err(error) = thread.spawn(move || lifecycle.watch_retired()) {
                tracing::error!(%error, "no thread to unload models with: the loader waits for them");
                drop(state);
                self.watch_retired();
            }
        }
        receivers
    }

    fn watch_retired(&self) {
        let retired = &self.retired;
        let mut state = retired.state.lock();
        loop {
            let closed = state.closed;
            let gone = state.models.extract_if(.., |model| model.serving.retire(&self.executor, closed));
            let gone: Vec<Retiring> = gone.collect();
            let now = Instant::now();
            let late = state.models.iter_mut().filter(|model| model.refuse_at.is_some_and(|at| at <= now));
            late.for_each(Retiring::refuse_waiting);
            if gone.is_empty() {
                if state.models.is_empty() {
                    state.is_watched = false;
                    retired.changed.notify_all();
                    return;
                }
                retired.changed.wait_for(&mut state, LOOK_EVERY);
                continue;
            }
            // Dropping a model may take long, and backends may do what they like in it.
            drop(state);
            gone.into_iter().for_each(|model| self.release(model));
            state = retired.state.lock();
        }
    }

    fn release(&self, model: Retiring) {
        let Retiring { serving, done, .. } = model;
        let (name, version) = (Arc::clone(&serving.served.interface.model), serving.served.version);
        let labels = serving.served.labels();
        let served = Arc::downgrade(&serving);
        serving.close();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(serving))) {
            let reason = panic_message(&*panic);
            tracing::error!(model = %name, version, reason, "a backend panicked while its model was dropped");
        }
        self.table.released(&name, version, &served);
        // Whoever loads this version again makes its series anew, once it answers.
        self.table.while_not_ready(&name, version, || self.metrics.forget(&labels, outcomes()));
        self.metrics.model_unloaded();
        tracing::info!(model = %name, version, "unloaded");
        tell(done);
    }

    /// Drops what is retired, without letting it finish, and waits until that is done.
    pub(crate) fn close_retired(&self) {
        let mut state = self.retired.state.lock();
        state.closed = true;
        self.retired.changed.notify_all();
        while state.is_watched {
            self.retired.changed.wait(&mut state);
        }
        let left = std::mem::take(&mut state.models);
        drop(state);
        for model in left {
            model.serving.retire(&self.executor, true);
            self.release(model);
        }
    }
}

impl Retiring {
    /// The time to finish is over.
    fn refuse_waiting(&mut self) {
        self.refuse_at = None;
        let waiting = self.serving.close();
        let (model, version) = (&self.serving.served.interface.model, self.serving.served.version);
        tracing::warn!(%model, version, requests = waiting.len(), "unloading takes too long: what waits is refused");
        for job in waiting {
            // A caller that has gone needs no answer.
            let _ = job.reply.send(Err(EngineError::Unloaded { model: model.as_ref().into() }));
        }
        tell(self.done.take());
    }
}

/// How a request may have ended, beside well.
fn outcomes() -> impl Iterator<Item = &'static str> {
    ErrorKind::ALL.into_iter().map(ErrorKind::as_str)
}

fn tell(done: Option<oneshot::Sender<()>>) {
    if let Some(done) = done {
        // Whoever waited may have gone.
        let _ = done.send(());
    }
}
