use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use adulis_backend::{Backend, BackendError, LoadRequest, Model};
use adulis_telemetry::{MetricRegistry, ModelLabels, WorkerMetrics};

use crate::connection::Connection;
use crate::exchange::Failure;
use crate::group::Plan;
use crate::model::RemoteModel;
use crate::open::{Open, WireRequest};
use crate::options::{ISOLATION, Isolation, PARAMETERS, WorkerCommand, WorkerOptions};
use crate::process::Process;

/// What models are isolated with: the command that workers are started with, how they are kept, and their metrics.
#[derive(Debug)]
pub struct Workers {
    command: WorkerCommand,
    options: WorkerOptions,
    metrics: WorkerMetrics,
}

impl Workers {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(command: WorkerCommand, options: WorkerOptions, registry: &MetricRegistry) -> Arc<Self> {
        Arc::new(Self { command, options, metrics: WorkerMetrics::register(registry) })
    }

    /// A backend of the same name whose models live in worker processes, as far as options and their configurations say so.
    /// The command must know a backend of that name.
    #[must_use]
    pub fn isolate(self: &Arc<Self>, backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
        Arc::new(Isolated { inner: backend, workers: Arc::clone(self), is_available: AtomicBool::new(false) })
    }
}

/// See [`Workers::isolate`].
struct Isolated {
    inner: Arc<dyn Backend>,
    workers: Arc<Workers>,
    /// Whether a worker has said that it can run there. That it cannot is asked anew.
    is_available: AtomicBool,
}

impl Isolated {
    fn open(&self, options: &WorkerOptions, request: Option<&LoadRequest>) -> Open {
        Open {
            backend: self.inner.name().to_owned(),
            max_body_bytes: options.max_transfer_bytes,
            model: request.map(WireRequest::from),
        }
    }

    /// Asks a worker that is started for nothing else: the engine's library is not to be loaded here.
    fn ask(&self) -> Result<(), BackendError> {
        let (backend, options) = (self.inner.name(), &self.workers.options);
        let unavailable = |reason: String| BackendError::Unavailable { backend, reason };
        let deadline = Instant::now() + options.start_timeout;
        let process = Process::spawn(&self.workers.command, options);
        let process = Arc::new(
            process.map_err(|error| unavailable(format!("no worker process can be started: {error}")))?,
        );
        let asked = process
            .greet(deadline)
            .map_err(Failure::Died)
            .and_then(|()| Connection::probe(&process, &self.open(options, None), deadline));
        match asked {
            Ok(()) => Ok(()),
            Err(Failure::Said(fault)) => Err(fault.into_error(backend)),
            Err(_) => {
                Err(unavailable(format!("a worker process was asked whether it is, and {}", process.end())))
            }
        }
    }

    /// Loads a model in workers. One that cannot be isolated is loaded here, unless its configuration `insists`.
    fn load_there(
        &self,
        options: WorkerOptions,
        request: &LoadRequest,
        insists: bool,
    ) -> Result<Arc<dyn Model>, BackendError> {
        let plan = Plan {
            command: &self.workers.command,
            labels: ModelLabels { model: Arc::clone(&request.name), version: request.version },
            backend: self.inner.name(),
            open: self.open(&options, Some(request)),
            metrics: &self.workers.metrics,
            options,
        };
        let model = RemoteModel::load(plan, request)?;
        if !model.is_decoupled() {
            return Ok(Arc::new(model));
        }
        drop(model);
        if insists {
            let what = format!("parameter {ISOLATION} = process for models that answer any number of times");
            return Err(BackendError::Unsupported { what });
        }
        tracing::warn!(
            model = %request.name, version = request.version,
            "the model answers any number of times: it runs in the server's own process, without isolation"
        );
        self.inner.load(request)
    }
}

impl Backend for Isolated {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn platform(&self) -> &'static str {
        self.inner.platform()
    }

    fn available(&self) -> Result<(), BackendError> {
        match self.workers.options.isolation {
            Isolation::None => self.inner.available(),
            Isolation::Process if self.is_available.load(Ordering::Relaxed) => Ok(()),
            Isolation::Process => {
                self.ask()?;
                self.is_available.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let options = self.workers.options.of_model(&request.options.parameters)?;
        let insists = request.options.parameters.contains_key(ISOLATION);
        let mut request = request.clone();
        request.options.parameters.retain(|name, _| !PARAMETERS.contains(&name.as_str()));
        match options.isolation {
            Isolation::None => self.inner.load(&request),
            Isolation::Process => self.load_there(options, &request, insists),
        }
    }
}
