use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adulis::types::{
    BoxFuture, DelegatingService, Fault, InferRequest, InferResponse, InferenceService, ResponseStream,
};
use futures_util::TryStreamExt;

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

    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Answers as the one within does, whatever it is asked, and counts on the way.
struct Around {
    inner: Arc<dyn InferenceService>,
    counted: Counted,
}

impl DelegatingService for Around {
    fn inner(&self) -> &dyn InferenceService {
        &*self.inner
    }

    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        Box::pin(async move {
            let answer = self.inner.infer(request).await?;
            self.counted.count();
            Ok(answer)
        })
    }

    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        Box::pin(self.inner.infer_stream(request).inspect_ok(|_| self.counted.count()))
    }
}
