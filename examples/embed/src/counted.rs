use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adulis::types::{
    BoxFuture, Fault, InferRequest, InferResponse, InferenceService, ModelMetadata, ModelRef, ServerMetadata,
};

/// Counts answers, over REST and gRPC alike: a service of the application's own around the engine.
#[derive(Clone, Default)]
pub struct Counted(Arc<AtomicU64>);

impl Counted {
    /// Answers so far.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Puts the count around a service.
    #[must_use]
    pub fn around(self, inner: Arc<dyn InferenceService>) -> Arc<dyn InferenceService> {
        Arc::new(Around { inner, counted: self })
    }
}

struct Around {
    inner: Arc<dyn InferenceService>,
    counted: Counted,
}

impl InferenceService for Around {
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        Box::pin(async move {
            let answer = self.inner.infer(request).await?;
            self.counted.0.fetch_add(1, Ordering::Relaxed);
            Ok(answer)
        })
    }

    fn ready(&self) -> bool {
        self.inner.ready()
    }

    fn model_ready(&self, model: &ModelRef) -> Result<bool, Fault> {
        self.inner.model_ready(model)
    }

    fn server_metadata(&self) -> ServerMetadata {
        self.inner.server_metadata()
    }

    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault> {
        self.inner.model_metadata(model)
    }
}
