use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use adulis_backend::{Backend, BackendError, LoadRequest, Model};
use adulis_repository::{ModelConfig, ModelEntry, ModelVersion};
use adulis_telemetry::{ModelLabels, panic_message};

use crate::admission::Interface;
use crate::engine::Engine;
use crate::instance::Slot;
use crate::lane::{Lane, Rules};
use crate::plan::{self, Plan};
use crate::serving::ServingModel;
use crate::settings::or_cores;
use crate::table::Version;
use crate::{LoadError, warmup};

/// How far loading has come.
#[derive(Debug, Clone)]
pub struct LoadProgress {
    /// The model version that is done, loaded or not.
    pub model: Arc<str>,
    /// Its version.
    pub version: u64,
    /// Where it runs and how long the load took, or why it failed.
    pub outcome: Result<(String, Duration), String>,
    /// Model versions done so far.
    pub done: usize,
    /// Model versions in all.
    pub total: usize,
}

impl Engine {
    /// Loads and warms every version of every model, several at a time, and serves each as soon as it is ready.
    /// Blocks until all are done. Those that fail stay in the index with their reason.
    pub fn load(&self, entries: &[ModelEntry], progress: impl Fn(&LoadProgress) + Sync) {
        let work: Vec<(&ModelEntry, &ModelVersion, Arc<str>)> = entries
            .iter()
            .flat_map(|entry| {
                let name: Arc<str> = entry.name.as_str().into();
                entry.versions.iter().map(move |version| (entry, version, Arc::clone(&name)))
            })
            .collect();
        for (_, version, name) in &work {
            self.table.set(name, version.version, Version::Loading);
        }
        let (next, done, total) = (AtomicUsize::new(0), AtomicUsize::new(0), work.len());
        std::thread::scope(|scope| {
            for _ in 0..or_cores(self.settings.load_threads).min(total) {
                scope.spawn(|| {
                    while let Some((entry, version, name)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let outcome = self.load_version(entry, version, name);
                        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                        let (model, version) = (Arc::clone(name), version.version);
                        progress(&LoadProgress { model, version, outcome, done, total });
                    }
                });
            }
        });
    }

    fn load_version(
        &self,
        entry: &ModelEntry,
        version: &ModelVersion,
        name: &Arc<str>,
    ) -> Result<(String, Duration), String> {
        let started = Instant::now();
        let loaded = catch_unwind(AssertUnwindSafe(|| self.make(entry, version, name)))
            .unwrap_or_else(|panic| Err(LoadError::Panicked { reason: panic_message(&*panic) }));
        let labels = ModelLabels { model: Arc::clone(name), version: version.version };
        self.metrics.model_loaded(&labels, loaded.is_ok(), started.elapsed().as_secs_f64());
        match loaded {
            Ok(serving) => {
                let placement = serving.model.placement();
                self.table.set(name, version.version, Version::Ready(serving));
                Ok((placement, started.elapsed()))
            }
            Err(error) => {
                let reason = error.to_string();
                self.table.set(name, version.version, Version::Failed(reason.as_str().into()));
                Err(reason)
            }
        }
    }

    fn make(
        &self,
        entry: &ModelEntry,
        version: &ModelVersion,
        name: &Arc<str>,
    ) -> Result<Arc<ServingModel>, LoadError> {
        let config = &entry.config;
        plan::check_supported(config)?;
        let backend = self.choose_backend(config.backend.as_deref())?;
        let model = backend.load(&LoadRequest {
            name: Arc::clone(name),
            version: version.version,
            path: version.path.clone(),
            declared: plan::declared(config),
            options: plan::engine_options(config, &self.settings),
        })?;
        let plan = Plan::derive(config, model.signature(), &self.settings)?;
        let mut slot = Slot::new(0, &*model)?;
        warmup::configured(&config.warmup, &plan, &*model, &mut slot)?;
        let derived = plan.unproven;
        let (plan, cost) = warmup::generated(plan, &*model, &mut slot);
        if derived && plan.max_rows.is_none() {
            tracing::info!(
                model = %name, version = version.version,
                "the leading dimension is open but is not a batch dimension: requests run one by one"
            );
        }
        let mut slots = vec![slot];
        for index in 1..plan.instances {
            slots.push(Slot::new(index, &*model)?);
        }
        Ok(
            self.register(Parts {
                name,
                version: version.version,
                config,
                backend,
                model,
                plan,
                slots,
                cost,
            }),
        )
    }

    fn choose_backend(&self, wanted: Option<&str>) -> Result<&Arc<dyn Backend>, LoadError> {
        let find = |name: &str| self.backends.iter().find(|backend| backend.name() == name);
        if let Some(name) = wanted {
            let known = || {
                let names: Vec<&str> = self.backends.iter().map(|backend| backend.name()).collect();
                LoadError::UnknownBackend { backend: name.to_owned(), known: names.join(", ") }
            };
            let backend = find(name).ok_or_else(known)?;
            backend.available()?;
            return Ok(backend);
        }
        let mut reasons = Vec::new();
        for backend in self.settings.backend_order.iter().filter_map(|name| find(name)) {
            match backend.available() {
                Ok(()) => return Ok(backend),
                Err(BackendError::Unavailable { backend, reason }) => {
                    reasons.push(format!("{backend}: {reason}"));
                }
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(LoadError::NoBackend { reasons: reasons.join("; ") })
    }

    fn register(&self, parts: Parts<'_>) -> Arc<ServingModel> {
        let Parts { name, version, config, backend, model, plan, slots, cost } = parts;
        let policy = plan.policy.clone();
        let interface = Interface {
            model: Arc::clone(name),
            inputs: plan.inputs,
            outputs: plan.outputs,
            max_rows: plan.max_rows,
        };
        let rules = Rules {
            policy: plan.policy,
            preserve_ordering: plan.preserve_ordering,
            inline: self.inline,
        };
        let lane = Lane::new(rules, slots, cost);
        self.executor.register(|key| {
            Arc::new(ServingModel {
                key,
                version,
                backend: backend.name(),
                platform: backend.platform().into(),
                config: Box::new(config.clone()),
                interface,
                model,
                lane,
                weight: plan.weight,
                merges: plan.merges,
                policy,
                serving: self.metrics.clone(),
                metrics: OnceLock::new(),
            })
        })
    }
}

/// What a served model is put together from.
struct Parts<'a> {
    name: &'a Arc<str>,
    version: u64,
    config: &'a ModelConfig,
    backend: &'a Arc<dyn Backend>,
    model: Arc<dyn Model>,
    plan: Plan,
    slots: Vec<Slot>,
    cost: adulis_batcher::CostModel,
}
