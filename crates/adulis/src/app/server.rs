use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_engine::Engine;
use adulis_grpc::GrpcOptions;
use adulis_http::HttpOptions;
use adulis_quota::Quotas;
use adulis_repository::Scan;
use adulis_store::Store;
use adulis_telemetry::MetricRegistry;
use adulis_types::{AuditLog, IndexQuery, InferenceService, ModelState, Services, TraceControl};

use super::{BuildError, Builder};

/// For how long at most other replicas are told of places that are free: they learn of them by themselves before long.
const PLACES_LIMIT: Duration = Duration::from_secs(1);

/// A server without sockets. Clones share it.
#[derive(Clone)]
pub struct Adulis {
    pub(super) engine: Arc<Engine>,
    pub(super) services: Services,
    pub(super) store: Option<Arc<Store>>,
    pub(super) quotas: Option<Quotas>,
    pub(super) registry: Arc<MetricRegistry>,
    /// What was found already, where nothing else is to be looked for.
    pub(super) scan: Option<Arc<Scan>>,
    pub(super) http: HttpOptions,
    pub(super) grpc: GrpcOptions,
}

impl Adulis {
    /// A builder with every default.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Loads and warms the models that were found, or those of them that [`Settings::control`](adulis_engine::Settings::control)
    /// says; blocks until all are done. Each serves as soon as it is ready; the server as a whole says that it is ready
    /// afterwards. Call it from a thread that may block (`tokio::task::spawn_blocking`, or before the runtime starts).
    ///
    /// If a repository that lies elsewhere cannot be mirrored, nothing is loaded, the log says why, and the server never gets
    /// ready: [`Adulis::try_load`] tells.
    pub fn load(&self) {
        if let Err(error) = self.try_load() {
            tracing::error!("{error}");
        }
    }

    /// The same.
    ///
    /// # Errors
    /// [`BuildError::Models`] if a repository cannot be read any more, or not be mirrored.
    pub fn try_load(&self) -> Result<(), BuildError> {
        let started = Instant::now();
        let scan = self.scan.clone().unwrap_or_else(|| Arc::new(self.engine.scan()));
        if !scan.problems.is_empty() {
            return Err(BuildError::Models(scan.problems.clone()));
        }
        self.engine.start(&scan);
        self.log_outcome(&scan, started.elapsed());
        Ok(())
    }

    fn log_outcome(&self, scan: &Scan, took: Duration) {
        let index = self.engine.repository_index(&IndexQuery::default()).unwrap_or_default();
        let loaded = index.iter().filter(|line| line.state.is_some());
        let ready = loaded.clone().filter(|line| line.state == Some(ModelState::Ready)).count();
        let failed = loaded.count() - ready;
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if ready + failed == 0 && !scan.empty.is_empty() {
            tracing::warn!(models = 0, "ready, and no model to serve: see the folders that are named above");
        } else if self.services.inference.ready() {
            tracing::info!(models = ready, failed, milliseconds, "ready");
        } else if self.engine.is_draining() {
            tracing::info!(models = ready, failed, milliseconds, "told to stop before it was ready");
        } else {
            tracing::error!(
                models = ready,
                failed,
                milliseconds,
                "not ready: see the models that failed to load above"
            );
        }
    }

    /// The engine, for its index of models and for draining.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What changes which requests are traced.
    #[must_use]
    pub fn trace_control(&self) -> Option<&dyn TraceControl> {
        self.services.trace.as_deref()
    }

    /// Where it is noted who changed what, if it is.
    #[must_use]
    pub fn audit(&self) -> Option<&Arc<dyn AuditLog>> {
        self.services.audit.as_ref()
    }

    /// The store, where there is one.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    /// Writes what the store has still to write, and gives back to other replicas the places of requests that are over; what
    /// cannot be written within `limit` is dropped and counted. To be called when no more requests are served.
    pub async fn close(&self, limit: Duration) {
        let quotas = async {
            if let Some(quotas) = &self.quotas {
                quotas.close(limit.min(PLACES_LIMIT)).await;
            }
        };
        let store = async {
            if let Some(store) = &self.store {
                store.close(limit).await;
            }
        };
        tokio::join!(quotas, store);
    }

    /// The service that the frontends serve.
    #[must_use]
    pub fn service(&self) -> &Arc<dyn InferenceService> {
        &self.services.inference
    }

    /// Metrics; an application may add its own.
    #[must_use]
    pub fn registry(&self) -> &Arc<MetricRegistry> {
        &self.registry
    }

    /// The REST routes, all below `/v2`.
    pub fn rest(&self) -> adulis_http::Router {
        adulis_http::router(self.services.clone(), self.http.clone())
    }

    /// The routes of KServe's and TensorFlow Serving's V1 protocol: `/v1/models` and what is below it, and `GET /`.
    pub fn v1(&self) -> adulis_http::Router {
        adulis_http::v1_router(self.services.clone(), self.http.clone())
    }

    /// The routes that Amazon SageMaker asks a container.
    pub fn sagemaker(&self, options: adulis_http::SageMakerOptions) -> adulis_http::Router {
        adulis_http::sagemaker_router(self.services.clone(), self.http.clone(), options)
    }

    /// The routes that Google Vertex AI asks a container, with its way to the REST routes.
    pub fn vertex_ai(&self, options: adulis_http::VertexOptions) -> adulis_http::Router {
        adulis_http::vertex_router(self.rest(), self.services.clone(), self.http.clone(), options)
    }

    /// The gRPC service as routes, to be served with HTTP/2, on a port of its own or together with others.
    pub fn grpc(&self) -> adulis_http::Router {
        adulis_grpc::routes(self.services.clone(), self.grpc.clone())
            .into_axum_router()
            .reset_fallback()
    }

    /// `GET /metrics`, `GET /livez`, `GET /v2/health/live` and `/ready`.
    pub fn metrics(&self) -> adulis_http::Router {
        self.scrape().merge(self.health())
    }

    /// The same, for a thread of its own: the threads of the runtime at `io` serve requests, and the server is neither live nor
    /// ready while none of them has a hand free.
    pub(crate) fn metrics_apart(&self, io: tokio::runtime::Handle) -> adulis_http::Router {
        self.scrape().merge(adulis_http::while_answering(self.health(), io))
    }

    fn scrape(&self) -> adulis_http::Router {
        let registry = Arc::clone(&self.registry);
        let render = Arc::new(move |format| registry.render(format));
        adulis_http::metrics_router(self.services.clone(), render)
    }

    fn health(&self) -> adulis_http::Router {
        adulis_http::health_router(self.services.clone(), self.http.clone())
    }
}
