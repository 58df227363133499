//! The life of models: loading, loading again beside what serves, unloading.
//!
//! What is done for one model is done by one loader thread at a time ([`Loaders`]), so that no two loads of a model can
//! overtake each other; [`ModelTable`] is the only place where what serves is written down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak, mpsc};

use adulis_backend::Backend;
use adulis_cache::ResponseCache;
use adulis_repository::{ModelEntry, Problem, Scan};
use adulis_telemetry::{MetricRegistry, ModelReport, ServingMetrics, TritonReport};
use adulis_types::{ModelState, ServiceError};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Settings;
use crate::caching;
use crate::composing::{self, Arranged};
use crate::control::{ControlMode, StartModels};
use crate::ensemble::{self, Cause, Unready};
use crate::executor::Executor;
use crate::inline::InlineLimits;
use crate::loaders::{Loaders, NotTaken};
use crate::overrides::OverrideSpace;
use crate::poll::PollThread;
use crate::retired::Retired;
use crate::settings::or_cores;
use crate::source::Source;
use crate::table::{Finished, ModelTable};
use crate::watchdog::Watchdog;

/// What the index says of a model that no repository has; Triton's words.
const NOT_FOUND: &str = "failed to poll from model repository";

/// Models and what is needed to load them.
pub(crate) struct Lifecycle {
    pub(crate) settings: Settings,
    pub(crate) backends: Vec<Arc<dyn Backend>>,
    pub(crate) table: ModelTable,
    pub(crate) executor: Arc<Executor>,
    pub(crate) metrics: ServingMetrics,
    pub(crate) inline: InlineLimits,
    /// The response cache, where there is one.
    pub(crate) cache: Option<Arc<ResponseCache>>,
    pub(crate) loaders: Arc<Loaders>,
    pub(crate) retired: Retired,
    pub(crate) overrides: OverrideSpace,
    pub(crate) watchdog: Watchdog,
    poll: Mutex<Option<PollThread>>,
    /// Whether the models of the start have their turns already, or nothing lies elsewhere. Until then repositories may be
    /// mirrored as a whole, and what requests ask for waits.
    begun: watch::Sender<bool>,
}

impl Lifecycle {
    pub(crate) fn new(
        settings: Settings,
        backends: Vec<Arc<dyn Backend>>,
        executor: Arc<Executor>,
        metrics: ServingMetrics,
    ) -> Arc<Self> {
        let begun = watch::Sender::new(!settings.repositories.has_remote());
        Arc::new(Self {
            watchdog: Watchdog::new(&executor),
            cache: caching::open(&settings, metrics.cache()),
            inline: InlineLimits::new(settings.inline_threshold),
            loaders: Loaders::new(or_cores(settings.load_threads)),
            overrides: OverrideSpace::new(settings.max_override_bytes),
            settings,
            backends,
            table: ModelTable::default(),
            executor,
            metrics,
            retired: Retired::default(),
            poll: Mutex::default(),
            begun,
        })
    }

    /// Has each scrape tell what models there are.
    pub(crate) fn register(self: &Arc<Self>, registry: &MetricRegistry) {
        let lifecycle = Arc::downgrade(self);
        registry.register_models(&STATES, move || reports(&lifecycle));
        if self.settings.triton_metric_names {
            let lifecycle = Arc::downgrade(self);
            registry.register_triton_models(move || triton_reports(&lifecycle));
        }
        if let Some(cache) = &self.cache {
            let (lifecycle, cache) = (Arc::downgrade(self), Arc::clone(cache));
            registry.register_cache(move || caching::report(&cache, lifecycle.upgrade().as_deref()));
        }
    }

    /// Loads what the control mode says, of what was found, and begins to watch the repositories if it says so. Blocks
    /// until all loads are done.
    pub(crate) fn start(self: &Arc<Self>, scan: &Scan) {
        let named = match &self.settings.control {
            ControlMode::Explicit(StartModels::Named(names)) => Some(names),
            ControlMode::Explicit(StartModels::All) | ControlMode::None | ControlMode::Poll(_) => None,
        };
        let asked = |name: &str| named.is_none_or(|names| names.iter().any(|asked| asked == name));
        let steps = |name: &str| steps_in(scan, name);
        let below = named.into_iter().flatten().flat_map(|name| composing::below(name, steps));
        let below: HashSet<String> = below.collect();
        let wanted = |name: &str| asked(name) || below.contains(name);
        let notes = scan.notes.iter().filter(|note| note.model.as_deref().is_none_or(wanted));
        for note in scan.empty.iter().chain(notes) {
            tracing::warn!("{note}");
        }
        for failed in scan.failed.iter().filter(|failed| wanted(&failed.name)) {
            self.fail(&failed.name, &failed.problems);
        }
        for name in named.into_iter().flatten().filter(|name| scan.model(name).is_none()) {
            tracing::error!(model = name, reason = NOT_FOUND, "not loaded");
            self.table.fail(name, NOT_FOUND);
        }
        let entries = scan.models.iter().filter(|entry| wanted(&entry.name));
        let source = |entry: &ModelEntry| Source::found(entry, scan).asked(asked(&entry.name));
        let loads = self.submit_all(entries.map(source).collect());
        self.begun.send_replace(true);
        loads.wait();
        if let ControlMode::Poll(interval) = self.settings.control {
            *self.poll.lock() = PollThread::start(self, interval, scan.fingerprints.clone());
        }
    }

    /// Waits until the models of the start have their turns, or the engine closes.
    pub(crate) async fn begun(&self) {
        // It ends with what this borrows.
        let _ = self.begun.subscribe().wait_for(|begun| *begun).await;
    }

    /// Loads models, several at a time, and ensembles after what they are made of. Blocks until all loads are done.
    pub(crate) fn load_all(self: &Arc<Self>, sources: Vec<Source>) {
        self.submit_all(sources).wait();
    }

    fn submit_all(self: &Arc<Self>, sources: Vec<Source>) -> Loads {
        for source in &sources {
            self.begin(source);
        }
        let steps: HashMap<String, Vec<String>> = sources
            .iter()
            .map(|source| (source.entry.name.clone(), composing::steps(&source.entry.config)))
            .collect();
        let steps = |name: &str| steps.get(name).cloned().unwrap_or_default();
        let (done, all_done) = mpsc::channel::<()>();
        for Arranged { item: source, after } in composing::arranged(sources, |source| &source.name, steps) {
            let (lifecycle, done) = (Arc::clone(self), done.clone());
            let name = Arc::clone(&source.name);
            let work = move || {
                // What went wrong is in the index and in the log.
                let _ = lifecycle.load(&source, false);
                drop(done);
            };
            if let Err(NotTaken::NoThread(reason)) = self.loaders.submit_after(&name, after, work) {
                tracing::error!(model = %name, reason, "not loaded");
                self.table.fail(&name, &reason);
            }
        }
        Loads(all_done)
    }

    /// Loads a model beside what serves of it, and puts the new set of versions in the old one's place. If that fails, what
    /// serves goes on. With `keep_unchanged`, versions whose files look as they did stay as they are.
    ///
    /// Blocking; for loader threads.
    ///
    /// # Errors
    /// What went wrong, for clients. It is in the index, too.
    pub(crate) fn load(self: &Arc<Self>, source: &Source, keep_unchanged: bool) -> Result<(), Arc<str>> {
        let name = &source.name;
        self.begin(source);
        let unchanged = if keep_unchanged { self.table.serving(name) } else { BTreeMap::new() };
        let outcomes = self.loaders.several(source.entry.versions.len(), |index| {
            let version = &source.entry.versions[index];
            let serving = unchanged.get(&version.version);
            let outcome = match serving.filter(|serving| source.is_served_by(&serving.served)) {
                Some(serving) => Ok(Arc::clone(serving)),
                None => self.load_version(source, version),
            };
            (version.version, outcome)
        });
        drop(unchanged);
        // So that ensembles which remember answers of theirs go on doing so from the moment at which it serves.
        if self.table.with(|models| ensemble::is_part(name, models)) {
            let loaded = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok().map(Arc::clone));
            self.identify(&loaded.collect::<Vec<_>>());
        }
        let Finished { displaced, problem } = self.table.finish(name, outcomes);
        self.retire(displaced, None);
        self.identify_steps();
        self.tell_ensembles(name);
        match problem {
            None => self.table.unready(name).map_or(Ok(()), |unready| Err(unready.reason)),
            Some(problem) => {
                if self.table.answers(name) {
                    tracing::warn!(model = %name, "what could be loaded of it, or did serve before, serves");
                }
                Err(problem)
            }
        }
    }

    fn begin(&self, source: &Source) {
        let versions: Vec<u64> = source.entry.versions.iter().map(|version| version.version).collect();
        let repository = self.settings.repositories.named(source.repository());
        let repository = repository.to_string_lossy().into();
        self.table.begin(&source.name, &repository, &versions, source.asked);
    }

    /// Tells the log which ensembles do not answer now that this model has changed: itself, and those that it is a step of.
    pub(crate) fn tell_ensembles(&self, model: &str) {
        for (ensemble, unready) in self.table.unready_with(model) {
            let Unready { reason, cause } = unready;
            match cause {
                Cause::Broken => tracing::error!(model = %ensemble, %reason, "an ensemble is not ready"),
                Cause::Loading | Cause::Unloaded => {
                    tracing::warn!(model = %ensemble, %reason, "an ensemble is not ready");
                }
            }
        }
    }

    /// Notes that a model cannot be read. What serves of it goes on. Returns the reason, for clients.
    pub(crate) fn fail(&self, name: &str, problems: &[Problem]) -> Arc<str> {
        for problem in problems {
            tracing::error!(model = name, "{problem}");
        }
        let reasons: Vec<_> = problems.iter().map(ServiceError::client_message).collect();
        let reason = reasons.join("; ");
        self.table.fail(name, &reason);
        reason.into()
    }

    /// Has no load begin any more.
    pub(crate) fn begin_drain(&self) {
        self.settings.repositories.close();
        self.loaders.refuse();
    }

    /// Ends polling and loading, and drops what is on its way out. Waits for loads in progress, which cannot be stopped.
    pub(crate) fn close(&self) {
        self.settings.repositories.close();
        self.begun.send_replace(true);
        drop(self.poll.lock().take());
        self.loaders.close();
        self.close_retired();
    }
}

/// Loads that were asked for.
struct Loads(mpsc::Receiver<()>);

impl Loads {
    /// Blocks until all are done.
    fn wait(self) {
        // Nothing is ever sent: this ends when the last load has dropped its end.
        let _ = self.0.recv();
    }
}

/// The models of an ensemble's steps, as a scan found it.
pub(crate) fn steps_in(scan: &Scan, model: &str) -> Vec<String> {
    match scan.model(model) {
        Some(Ok(entry)) => composing::steps(&entry.config),
        Some(Err(_)) | None => Vec::new(),
    }
}

/// All that [`state_name`] gives.
const STATES: [&str; 4] = ["loading", "ready", "unloading", "unavailable"];

const fn state_name(state: ModelState) -> &'static str {
    match state {
        ModelState::Loading => "loading",
        ModelState::Ready => "ready",
        ModelState::Unloading => "unloading",
        ModelState::Unavailable => "unavailable",
    }
}

/// What Triton's metrics tell of each model version that answers.
fn triton_reports(lifecycle: &Weak<Lifecycle>) -> Vec<TritonReport> {
    let serving = lifecycle.upgrade().map(|lifecycle| lifecycle.table.all_serving());
    serving.iter().flatten().map(|serving| serving.served.triton_report()).collect()
}

/// What the metrics tell of each model version.
fn reports(lifecycle: &Weak<Lifecycle>) -> Vec<ModelReport> {
    let mut reports = Vec::new();
    let Some(lifecycle) = lifecycle.upgrade() else {
        return reports;
    };
    lifecycle.table.for_each(|model, version, state, serving| {
        let serving = serving.filter(|_| state == ModelState::Ready);
        reports.push(ModelReport {
            model: Arc::clone(model),
            version,
            state: state_name(state),
            load_time: serving.map(|serving| serving.served.load_time),
            sequences: serving.and_then(|serving| serving.sequences()),
        });
    });
    reports
}
