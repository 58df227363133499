//! Purges: what is known of a model, or of all, counts no more, here and at every replica that shares the tier.
//!
//! In memory an answer is forgotten; in the shared tier it is not found any more, because the names there are made with the
//! [`Generation`] of their model and of all models, and a purge begins a new one. Generations lie in the tier, too. A task looks
//! at them after each interval: so every replica follows within that, and whatever the tier loses is written again. No request
//! waits for it, but the first of a model.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::generation::{Generation, Known, Merged};
use crate::{Key, MarkChange, ResponseCache, TierError};

/// How long generations lie in the tier unless they are written again: longer than any answer does.
const TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What is to be purged together: a model, by its name, or everything.
pub(crate) struct Mark {
    /// `None` for everything.
    model: Option<Arc<str>>,
    /// Where its generation lies in the tier.
    key: Key,
    /// How often it was purged: what is begun at one count and ends at another is not remembered.
    count: AtomicU64,
    known: Mutex<Known>,
}

/// The marks that a model's answers are under.
pub(crate) struct Marks {
    all: Arc<Mark>,
    model: Arc<Mark>,
}

/// The generations that a model's answers are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generations {
    all: Generation,
    model: Generation,
}

/// The marks of a cache.
pub(crate) struct Purging {
    namespace: String,
    all: Arc<Mark>,
    models: Mutex<HashMap<Arc<str>, Weak<Mark>>>,
    /// Those that were purged here and that the tier does not know of. They are kept, whatever becomes of their models.
    untold: Mutex<Vec<Arc<Mark>>>,
    wake: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Mark {
    fn new(namespace: &str, model: Option<Arc<str>>) -> Arc<Self> {
        let key = Key::of_generation(namespace, model.as_deref());
        Arc::new(Self { model, key, count: AtomicU64::new(0), known: Mutex::default() })
    }

    fn purge(&self) {
        self.known.lock().renew(Generation::after);
        // Behind it: whoever sees the new count sees the new generation.
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn merge(&self, read: Option<Generation>) -> Merged {
        let merged = self.known.lock().merge(read, Generation::after);
        if merged.is_purged {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
        merged
    }

    fn generation(&self) -> Option<Generation> {
        self.known.lock().generation()
    }
}

impl Marks {
    /// How often the model was purged. To be read before [`Marks::generations`] by whoever reads both.
    pub(crate) fn count(&self) -> u64 {
        let read = |mark: &Mark| mark.count.load(Ordering::Acquire);
        read(&self.all).wrapping_add(read(&self.model))
    }

    /// `None` as long as the tier could not be asked for them.
    pub(crate) fn generations(&self) -> Option<Generations> {
        Some(Generations { all: self.all.generation()?, model: self.model.generation()? })
    }

    fn each(&self) -> [Arc<Mark>; 2] {
        [Arc::clone(&self.all), Arc::clone(&self.model)]
    }
}

impl Generations {
    pub(crate) fn to_bytes(self) -> [u8; 2 * Generation::BYTES] {
        let mut bytes = [0; 2 * Generation::BYTES];
        bytes[..Generation::BYTES].copy_from_slice(&self.all.to_bytes());
        bytes[Generation::BYTES..].copy_from_slice(&self.model.to_bytes());
        bytes
    }
}

impl Purging {
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            all: Mark::new(namespace, None),
            models: Mutex::default(),
            untold: Mutex::default(),
            wake: Arc::default(),
            task: Mutex::default(),
        }
    }

    /// The marks of a model, of whatever version.
    pub(crate) fn marks(&self, model: &Arc<str>) -> Marks {
        Marks { all: Arc::clone(&self.all), model: self.mark(model) }
    }

    fn mark(&self, model: &Arc<str>) -> Arc<Mark> {
        let mut models = self.models.lock();
        if let Some(mark) = models.get(model).and_then(Weak::upgrade) {
            return mark;
        }
        // Those of models that are gone are forgotten here.
        models.retain(|_, mark| mark.strong_count() > 0);
        let mark = Mark::new(&self.namespace, Some(Arc::clone(model)));
        models.insert(Arc::clone(model), Arc::downgrade(&mark));
        mark
    }

    /// All that somebody needs.
    fn living(&self) -> Vec<Arc<Mark>> {
        let models = self.models.lock();
        std::iter::once(Arc::clone(&self.all))
            .chain(models.values().filter_map(Weak::upgrade))
            .collect()
    }

    /// Purges that the tier does not know of yet.
    pub(crate) fn untold(&self) -> u64 {
        self.untold.lock().len() as u64
    }
}

impl Drop for Purging {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

impl ResponseCache {
    /// Makes what is known of a model, or of all, unreachable: here at once, and at other replicas that share the tier as soon
    /// as they look ([`crate::CacheSettings::purge_interval`]). Returns how many answers were forgotten here.
    ///
    /// While the tier does not answer, they are told when it does: by a task that a call within a runtime starts.
    pub fn purge(self: &Arc<Self>, model: Option<&str>) -> u64 {
        let mark = match model {
            None => Arc::clone(&self.purging.all),
            Some(model) => self.purging.mark(&model.into()),
        };
        // First, so that nothing is remembered any more that was begun before.
        mark.purge();
        if self.shared.is_some() {
            let mut untold = self.purging.untold.lock();
            if untold.iter().all(|other| !Arc::ptr_eq(other, &mark)) {
                untold.push(Arc::clone(&mark));
            }
            drop(untold);
            self.watch();
            self.purging.wake.notify_one();
        }
        self.memory.purge(model)
    }

    /// Has a task look for purges of other replicas from now on, where there is a runtime for it.
    pub(crate) fn watch(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut task = self.purging.task.lock();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let (cache, wake) = (Arc::downgrade(self), Arc::clone(&self.purging.wake));
            *task = Some(runtime.spawn(watch(cache, wake, self.settings.purge_interval)));
        }
    }

    /// The generations of a model; where the tier was not asked for them yet, it is. `None` where it does not answer: then there
    /// is no name in it that could be trusted.
    pub(crate) async fn generations(&self, marks: &Marks) -> Option<Generations> {
        // Twice, for replicas that begin together: the second look shows what another one was quicker to write.
        for _ in 0..2 {
            if marks.generations().is_none() {
                // What went wrong is counted.
                self.agree(&marks.each()).await.ok()?;
            }
        }
        marks.generations()
    }

    /// Brings together what is known here of some marks and what lies in the tier. Whatever fails is done by a later look.
    async fn agree(&self, marks: &[Arc<Mark>]) -> Result<(), TierError> {
        let Some(tier) = &self.shared else {
            return Ok(());
        };
        let keys: Vec<Key> = marks.iter().map(|mark| mark.key).collect();
        let read = tier.marks(&keys).await?;
        for (mark, old) in marks.iter().zip(read) {
            let merged = mark.merge(old.as_deref().and_then(Generation::from_bytes));
            if merged.is_purged {
                let answers = self.memory.purge(mark.model.as_deref());
                // There is nothing to tell where the tier is looked at for the first time.
                if answers > 0 {
                    let model = mark.model.as_deref().unwrap_or("*");
                    tracing::info!(model, answers, "another replica has purged the response cache");
                }
            }
            let Some(generation) = merged.write else {
                continue;
            };
            let change = MarkChange { old, new: generation.to_bytes(), ttl: TTL };
            // Where another replica was quicker, the next look shows what it wrote.
            if tier.replace_mark(&mark.key, &change).await? {
                mark.known.lock().told(generation);
            }
        }
        self.purging.untold.lock().retain(|mark| mark.known.lock().is_untold());
        Ok(())
    }
}

/// Looks after each interval, and when somebody purges.
async fn watch(cache: Weak<ResponseCache>, wake: Arc<Notify>, interval: Duration) {
    loop {
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(interval) => {}
        }
        let Some(cache) = cache.upgrade() else { return };
        let marks = cache.purging.living();
        // What went wrong is counted.
        let _ = cache.agree(&marks).await;
    }
}
