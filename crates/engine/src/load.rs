use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use adulis_backend::{Backend, BackendError, LoadRequest, Model, TensorSpec};
use adulis_batcher::{CostModel, LimitFault};
use adulis_cache::Scope;
use adulis_repository::{Fingerprint, Labels, ModelConfig, ModelVersion};
use adulis_telemetry::panic_message;

use crate::admission::Interface;
use crate::caching::{self, LoadedModel, Made};
use crate::ensemble::{self, Ensemble, Remembering, Unready};
use crate::inline::InlineLimits;
use crate::instance::Slot;
use crate::instances::Instances;
use crate::lane::{BatchLane, Lane, Rules, SequenceLane};
use crate::lifecycle::Lifecycle;
use crate::padding::BatchSizes;
use crate::plan::{self, Plan};
use crate::serving::{Scheduler, Served, ServingModel};
use crate::source::Source;
use crate::statistics::Statistics;
use crate::watch::Watch;
use crate::{LoadError, warmup};

/// What clients are told as the platform of an ensemble. Triton's word.
const PLATFORM: &str = "ensemble";

/// How often a version is read whose files change meanwhile.
const MAX_READS: usize = 3;

impl Lifecycle {
    /// Loads and warms one version. It does not answer yet.
    ///
    /// # Errors
    /// What went wrong, for clients.
    pub(crate) fn load_version(
        &self,
        source: &Source,
        version: &ModelVersion,
    ) -> Result<Arc<ServingModel>, Arc<str>> {
        let started = Instant::now();
        let loaded = catch_unwind(AssertUnwindSafe(|| self.make(source, version, started)))
            .unwrap_or_else(|panic| Err(LoadError::Panicked { reason: panic_message(&*panic) }));
        self.metrics.model_loaded(loaded.is_ok());
        let (model, version) = (&source.name, version.version);
        match loaded {
            Ok(serving) => {
                let placement = serving.placement();
                let milliseconds = u64::try_from(serving.served.load_time.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(%model, version, %placement, milliseconds, "loaded");
                Ok(serving)
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(%model, version, reason = %format_args!("failed to load: {reason}"), "not loaded");
                Err(reason.into())
            }
        }
    }

    fn make(
        &self,
        source: &Source,
        version: &ModelVersion,
        started: Instant,
    ) -> Result<Arc<ServingModel>, LoadError> {
        let (name, config) = (&source.name, &source.entry.config);
        plan::check_supported(config)?;
        if let Some(ensemble) = config.scheduling.ensemble() {
            return self.make_ensemble(source, version.version, ensemble, started);
        }
        let backend = self.choose_backend(config.backend.as_deref())?;
        let (files, _) = caching::files_of(&source.entry, &version.path);
        for _ in 0..MAX_READS {
            let before = Fingerprint::of(&files);
            // Its files are looked at before the engine reads them.
            let cache = caching::wanted(self.cache.as_ref(), &source.entry, version);
            let read = self.read(source, version, backend);
            if Fingerprint::of(&files) == before {
                let Read { model, plan, slots, cost } = read?;
                let version = version.version;
                return self.assemble(Parts {
                    source,
                    version,
                    backend,
                    model,
                    plan,
                    slots,
                    cost,
                    cache,
                    started,
                });
            }
            // What was read may be of two minds.
            tracing::warn!(model = %name, version = version.version, "its files changed while they were read");
        }
        Err(LoadError::Changing { times: MAX_READS })
    }

    /// All of a load that reads the version's files.
    fn read(
        &self,
        source: &Source,
        version: &ModelVersion,
        backend: &Arc<dyn Backend>,
    ) -> Result<Read, LoadError> {
        let (name, config) = (&source.name, &source.entry.config);
        let model = backend.load(&LoadRequest {
            name: Arc::clone(name),
            version: version.version,
            path: version.path.clone(),
            declared: plan::declared(config),
            options: plan::engine_options(config, &self.settings),
        })?;
        check_policy(config.decoupled, &*model, backend.name())?;
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
        let sizes = BatchSizes::derive(config.optimization.batch_sizes.as_deref(), &*model, &plan);
        if !sizes.all().is_empty() {
            tracing::info!(model = %name, version = version.version, sizes = ?sizes.all(), "batches are padded");
            warmup::sizes(&plan, &*model, &mut slots, &sizes);
        }
        Ok(Read { model, plan, slots, cost })
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

    fn assemble(&self, parts: Parts<'_>) -> Result<Arc<ServingModel>, LoadError> {
        let Parts { source, version, backend, model, plan, slots, cost, cache, started } = parts;
        let policy = plan.policy.clone();
        let (inputs, outputs) = plan.visible();
        let interface = Interface {
            model: Arc::clone(&source.name),
            labels: labels(&source.entry.config, &outputs),
            inputs: plan.reshapes.seen_inputs(inputs),
            outputs: plan.reshapes.seen_outputs(outputs),
            reshapes: plan.reshapes,
            max_rows: plan.max_rows,
        };
        let config = &source.entry.config;
        let made = cache.map(|cache| {
            let options = &plan::engine_options(config, &self.settings);
            let (backend, reads_requests, interface) = (backend.name(), model.reads_requests(), &interface);
            cache.make(&LoadedModel { config, version, backend, reads_requests, options, interface })
        });
        let made = made.transpose()?.unwrap_or_default();
        let limited = self.executor.limited(config);
        let varies = interface.varies();
        let proven = cost.observations() > 0;
        let watch = Watch::new(config, &self.settings, (&interface, proven), &self.watchdog);
        let has_limit = watch.as_ref().is_some_and(|watch| watch.limit.is_some());
        // What has to wait, for resources, clients or another process, does so on another thread, and what may have to be written
        // off runs on one.
        let is_apart = limited.is_some() || has_limit || model.runs_elsewhere() || model.is_decoupled();
        let rules = Rules {
            policy: plan.policy,
            preserve_ordering: plan.preserve_ordering,
            admission: plan.admission,
            is_watched: has_limit,
            parallel: plan::parallel(plan.instances, &self.settings),
            inline: if is_apart { InlineLimits::new(Duration::ZERO) } else { self.inline },
        };
        let lane = match plan.sequences {
            None => Lane::Batches(BatchLane::new(rules, slots, cost)),
            Some(sequences) => Lane::Sequences(Box::new(SequenceLane::new(sequences, slots, cost))),
        };
        let loaded = Loaded { backend: Some(backend.name()), platform: backend.platform(), version, started };
        let served = self.served(source, &loaded, (interface, made));
        let instances = self.executor.register(|key| {
            Arc::new(Instances {
                key,
                model,
                lane,
                weight: plan.weight,
                merges: plan.merges,
                varies,
                policy,
                watch,
                limited,
                served: Arc::clone(&served),
            })
        });
        let fault = |fault: LimitFault| LoadError::Configuration {
            key: "instance_group.rate_limiter.resources".to_owned(),
            reason: fault.to_string(),
        };
        let instances = instances.map_err(fault)?;
        if instances.needs_watchdog() {
            self.watchdog.watch();
        }
        let scheduler = Scheduler::Instances(instances);
        Ok(Arc::new(ServingModel { served, scheduler }))
    }

    /// An ensemble. Whether its models are there and fit together is seen whenever it is asked, and may change; but one that
    /// does not answer now takes no place of one that does.
    fn make_ensemble(
        &self,
        source: &Source,
        version: u64,
        ensemble: &adulis_repository::Ensemble,
        started: Instant,
    ) -> Result<Arc<ServingModel>, LoadError> {
        let config = &source.entry.config;
        if !config.warmup.is_empty() {
            tracing::warn!(model = %source.name, "model_warmup takes no effect: an ensemble's models have their own");
        }
        if self.cache.is_none() {
            caching::warn_if_off(config);
        }
        self.compose((source, version), ensemble, started)
    }

    /// Whether an ensemble could be loaded with the models that there are, in every version.
    pub(crate) fn fits(&self, source: &Source) -> bool {
        let config = &source.entry.config;
        let Some(ensemble) = config.scheduling.ensemble() else {
            return false;
        };
        let composed = |version: &ModelVersion| {
            self.compose((source, version.version), ensemble, Instant::now()).is_ok()
        };
        plan::check_supported(config).is_ok() && source.entry.versions.iter().all(composed)
    }

    fn compose(
        &self,
        (source, version): (&Source, u64),
        ensemble: &adulis_repository::Ensemble,
        started: Instant,
    ) -> Result<Arc<ServingModel>, LoadError> {
        let config = &source.entry.config;
        let interface = ensemble::interface(config);
        let namespace = &self.settings.cache.namespace;
        let digest = caching::begun(config, (version, &interface), namespace).finish();
        let remembering = self.cache.as_ref().filter(|_| config.response_cache);
        let remembering = remembering.map(|cache| Remembering {
            cache: Arc::clone(cache),
            caching: config.caching,
            scope: Scope::new(Arc::clone(&source.name), version),
        });
        let ensemble = Box::new(Ensemble::new(config, ensemble, (digest, remembering))?);
        // What it is made of is known before it answers.
        if self.identify(&self.table.with(|models| ensemble.unidentified(models))) {
            self.table.touch();
        }
        let loaded = Loaded { backend: None, platform: PLATFORM, version, started };
        let served = self.served(source, &loaded, (interface, Made::default()));
        let serving = ServingModel { served, scheduler: Scheduler::Ensemble(ensemble) };
        match self.table.with(|models| serving.ready(models)) {
            Err(Unready { reason, .. }) if self.table.answers(&source.name) => {
                Err(LoadError::Ensemble { reason })
            }
            _ => Ok(Arc::new(serving)),
        }
    }

    fn served(
        &self,
        source: &Source,
        loaded: &Loaded,
        (interface, Made { cache, identity }): (Interface, Made),
    ) -> Arc<Served> {
        let Loaded { backend, platform, version, started } = *loaded;
        Arc::new(Served {
            version,
            backend,
            platform: platform.into(),
            config: Box::new(source.entry.config.clone()),
            serving: self.metrics.clone(),
            metrics: OnceLock::new(),
            statistics: Statistics::new(interface.max_rows.unwrap_or(1)),
            interface,
            decoupled: backend.is_some() && source.entry.config.decoupled,
            cache,
            identity,
            load_time: started.elapsed(),
            fingerprint: source.fingerprint(version),
            files: source.files.clone(),
        })
    }
}

/// How a version was loaded.
struct Loaded {
    backend: Option<&'static str>,
    platform: &'static str,
    version: u64,
    started: Instant,
}

/// The labels of each output, in the signature's order.
fn labels(config: &ModelConfig, outputs: &[TensorSpec]) -> Vec<Option<Arc<Labels>>> {
    let of = |spec: &TensorSpec| {
        let declared = config.outputs.iter().find(|declared| declared.name == *spec.name)?;
        declared.labels.clone()
    };
    outputs.iter().map(of).collect()
}

/// A model that answers any number of times is served only as such: its clients have to know.
fn check_policy(decoupled: bool, model: &dyn Model, backend: &str) -> Result<(), LoadError> {
    if decoupled || !model.is_decoupled() {
        return Ok(());
    }
    let reason = format!("models of backend '{backend}' answer any number of times: set it to true");
    Err(LoadError::Configuration { key: "model_transaction_policy.decoupled".to_owned(), reason })
}

/// A version whose files have been read.
struct Read {
    model: Arc<dyn Model>,
    plan: Plan,
    slots: Vec<Slot>,
    cost: CostModel,
}

/// What a served model is put together from.
struct Parts<'a> {
    source: &'a Source,
    version: u64,
    backend: &'a Arc<dyn Backend>,
    model: Arc<dyn Model>,
    plan: Plan,
    slots: Vec<Slot>,
    cost: CostModel,
    cache: Option<caching::Wanted>,
    started: Instant,
}
