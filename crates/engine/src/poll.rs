//! Watching repositories: what is new, changed or gone since the last look.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use adulis_repository::{Fingerprint, Problem, Scan};
use adulis_types::{AuditEvent, AuditOutcome, Operation};
use parking_lot::Mutex;

use crate::composing::{self, Arranged};
use crate::lifecycle::{Lifecycle, steps_in};
use crate::source::Source;

/// A model whose files have changed within this time is being written, most likely: it is left for the next look.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// The thread that looks. Ends when this is dropped.
pub(crate) struct PollThread {
    /// Dropped to end it.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PollThread {
    /// Looks after each `interval`. `seen` is what has been loaded already.
    pub(crate) fn start(
        lifecycle: &Arc<Lifecycle>,
        interval: Duration,
        seen: BTreeMap<String, Fingerprint>,
    ) -> Option<Self> {
        let (stop, stopped) = mpsc::channel();
        let lifecycle = Arc::downgrade(lifecycle);
        let mut poll = Poll { seen, problems: Vec::new(), given_up: Arc::default() };
        let work = move || {
            while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
                let Some(lifecycle) = Weak::upgrade(&lifecycle) else {
                    return;
                };
                poll.look(&lifecycle);
            }
        };
        match thread::Builder::new().name("adulis-poll".to_owned()).spawn(work) {
            Ok(thread) => Some(Self { stop: Some(stop), thread: Some(thread) }),
            Err(error) => {
                tracing::error!(%error, "no thread to watch the repositories with: changes go unseen");
                None
            }
        }
    }
}

impl Drop for PollThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches the repositories panicked");
        }
    }
}

/// What has been seen of the repositories.
struct Poll {
    /// What each model looked like when it was last loaded, or tried to.
    seen: BTreeMap<String, Fingerprint>,
    /// What was wrong at the last look, so that it is told once.
    problems: Vec<Problem>,
    given_up: Arc<Mutex<GivenUp>>,
}

/// Ensembles that could not be loaded again while older ones of theirs serve, as when a model of theirs comes after them. Each
/// with the state of the model table for which that was looked at last.
type GivenUp = BTreeMap<String, Option<u64>>;

/// What is to be done about a model.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// It is new or has changed.
    Look(String),
    /// It is gone.
    Gone(String),
}

impl Change {
    fn name(&self) -> &str {
        match self {
            Change::Look(name) | Change::Gone(name) => name,
        }
    }
}

impl Poll {
    fn look(&mut self, lifecycle: &Arc<Lifecycle>) {
        // What is being loaded now must not change meanwhile; nobody but this thread begins to load anything.
        let scan = lifecycle.settings.repositories.scan_but(&|name| lifecycle.loaders.is_busy(name));
        if self.problems != scan.problems {
            scan.problems.iter().for_each(|problem| tracing::error!("{problem}"));
            self.problems.clone_from(&scan.problems);
        }
        let mut changes = changes(&self.seen, &scan, SystemTime::now());
        changes.extend(self.again(lifecycle, &scan));
        let steps = |name: &str| steps_in(&scan, name);
        for Arranged { item: change, after } in composing::arranged(changes, Change::name, steps) {
            let name = change.name().to_owned();
            // What is being loaded now is compared again at the next look.
            if lifecycle.loaders.is_busy(&name) {
                continue;
            }
            if self.act(lifecycle, &change, &scan, after) {
                match scan.fingerprints.get(&name) {
                    Some(print) => drop(self.seen.insert(name, print.clone())),
                    None => drop(self.seen.remove(&name)),
                }
            }
        }
    }

    /// Ensembles that were given up, look as they did then, and could be loaded with the models that there are by now.
    fn again(&self, lifecycle: &Lifecycle, scan: &Scan) -> Vec<Change> {
        let epoch = lifecycle.table.epoch();
        let is_as_seen = |name: &String| {
            let print = scan.fingerprints.get(name);
            print.is_some() && print == self.seen.get(name)
        };
        let fits = |name: &str| match scan.model(name) {
            Some(Ok(entry)) => lifecycle.fits(&Source::found(entry, scan)),
            Some(Err(_)) | None => false,
        };
        let mut given_up = self.given_up.lock();
        given_up.retain(|name, _| is_as_seen(name) || !scan.problems.is_empty());
        let unlooked = given_up.iter_mut().filter(|(_, looked)| **looked != Some(epoch));
        let looked = unlooked.map(|(name, looked)| {
            *looked = Some(epoch);
            name
        });
        looked
            .filter(|name| is_as_seen(name) && fits(name))
            .map(|name| Change::Look(name.clone()))
            .collect()
    }

    /// Has a change taken care of. `false` if nobody can: then it is tried again.
    fn act(&self, lifecycle: &Arc<Lifecycle>, change: &Change, scan: &Scan, after: Vec<Arc<str>>) -> bool {
        let loaders = &lifecycle.loaders;
        let lifecycle = Arc::clone(lifecycle);
        match change {
            Change::Gone(name) => {
                tracing::info!(model = name, "its files are gone: unloading");
                let model = name.clone();
                let work = move || {
                    let displaced = lifecycle.table.unload(&model, true);
                    lifecycle.retire(displaced, Some(lifecycle.settings.unload_timeout));
                    lifecycle.tell_ensembles(&model);
                    note(&lifecycle, Operation::ModelUnload, &model, AuditOutcome::Done);
                };
                loaders.submit(&name.as_str().into(), work).is_ok()
            }
            Change::Look(name) => match scan.model(name) {
                Some(Ok(entry)) => {
                    let source = Source::found(entry, scan);
                    let (model, given_up) = (Arc::clone(&source.name), Arc::clone(&self.given_up));
                    if given_up.lock().remove(name).is_some() {
                        tracing::info!(model = name, "the models that it is made of have changed: loading");
                    } else {
                        tracing::info!(model = name, "its files are new or have changed: loading");
                    }
                    let work = move || {
                        // What went wrong is in the index and in the log.
                        let loaded = lifecycle.load(&source, true);
                        note(&lifecycle, Operation::ModelLoad, &source.name, AuditOutcome::of(&loaded));
                        if loaded.is_err() && source.is_ensemble() && lifecycle.table.answers(&source.name) {
                            given_up.lock().insert(source.entry.name, None);
                        }
                    };
                    loaders.submit_after(&model, after, work).is_ok()
                }
                Some(Err(problems)) => {
                    lifecycle.fail(name, problems);
                    note(&lifecycle, Operation::ModelLoad, name, AuditOutcome::Failed);
                    true
                }
                None => true,
            },
        }
    }
}

/// Takes note of a change that nobody asked for but the files.
fn note(lifecycle: &Lifecycle, operation: Operation, model: &str, outcome: AuditOutcome) {
    if let Some(audit) = &lifecycle.settings.audit {
        let event = AuditEvent::of_server(operation.as_str(), outcome);
        audit.record(&event.to(model).with("its files have changed"));
    }
}

/// What differs between what was seen and what is there. Models that are being written are left out, and so is, while a
/// repository cannot be read, what may be in it.
fn changes(seen: &BTreeMap<String, Fingerprint>, scan: &Scan, now: SystemTime) -> Vec<Change> {
    let differs = scan.fingerprints.iter().filter(|(name, print)| {
        seen.get(*name).is_none_or(|before| before != *print) && is_settled(print.newest(), now)
    });
    let looks = differs.map(|(name, _)| Change::Look(name.clone()));
    let gone = seen.keys().filter(|name| !scan.fingerprints.contains_key(*name));
    let gone = gone.filter(|_| scan.problems.is_empty()).map(|name| Change::Gone(name.clone()));
    looks.chain(gone).collect()
}

/// Whether enough time has passed since a change. One that lies further ahead than that was made on another clock.
fn is_settled(newest: SystemTime, now: SystemTime) -> bool {
    match now.duration_since(newest) {
        Ok(age) => age >= SETTLED_AFTER,
        Err(ahead) => ahead.duration() > SETTLED_AFTER,
    }
}

#[cfg(test)]
mod tests;
