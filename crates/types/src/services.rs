use std::sync::Arc;

use crate::{
    AccessControl, AuditLog, CacheControl, Dependency, InferenceService, LogControl, ServerMetadata,
    SharedMemory, TraceControl,
};

/// All that a frontend serves: inference, and what the server as a whole offers beside it. A part that is not there is
/// answered as not supported.
#[derive(Clone)]
pub struct Services {
    /// Inference, models and their repository.
    pub inference: Arc<dyn InferenceService>,
    /// The log's settings.
    pub log: Option<Arc<dyn LogControl>>,
    /// The traces' settings.
    pub trace: Option<Arc<dyn TraceControl>>,
    /// What operators may see and do of the response cache.
    pub cache: Option<Arc<dyn CacheControl>>,
    /// Shared memory that clients register.
    pub shared_memory: Option<Arc<dyn SharedMemory>>,
    /// Who may use all this, and what of it; `None`: everybody, everything.
    pub access: Option<Arc<dyn AccessControl>>,
    /// Where it is noted who changed what of it.
    pub audit: Option<Arc<dyn AuditLog>>,
    /// What else the server talks to. Told with its readiness, which does not depend on it.
    pub dependencies: Vec<Arc<dyn Dependency>>,
}

impl Services {
    /// Name, version and extensions of the server: those of its inference service and of the parts beside it.
    #[must_use]
    pub fn server_metadata(&self) -> ServerMetadata {
        let mut metadata = self.inference.server_metadata();
        if self.shared_memory.is_some() {
            // The CUDA extension is spoken too: it has no regions, and says why none can be registered.
            metadata.extensions.extend(["system_shared_memory", "cuda_shared_memory"].map(Arc::from));
        }
        metadata.extensions.extend(self.log.iter().map(|_| Arc::from("logging")));
        metadata.extensions.extend(self.trace.iter().map(|_| Arc::from("trace")));
        metadata.extensions.extend(self.cache.iter().map(|_| Arc::from("response_cache")));
        metadata
    }
}

impl From<Arc<dyn InferenceService>> for Services {
    fn from(inference: Arc<dyn InferenceService>) -> Self {
        Self {
            inference,
            log: None,
            trace: None,
            cache: None,
            shared_memory: None,
            access: None,
            audit: None,
            dependencies: Vec::new(),
        }
    }
}

impl<S: InferenceService> From<Arc<S>> for Services {
    fn from(inference: Arc<S>) -> Self {
        Self::from(inference as Arc<dyn InferenceService>)
    }
}
