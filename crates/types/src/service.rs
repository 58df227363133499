use std::future::Future;
use std::pin::Pin;

use crate::{Fault, InferRequest, InferResponse, ModelMetadata, ModelRef, ServerMetadata};

/// A boxed future, so that the service can be an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the frontends serve. The engine is one; embedders may bring their own or wrap it.
pub trait InferenceService: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// Dropping the future cancels the request: it leaves the queue, or its result is dropped if it is being executed.
    ///
    /// # Errors
    /// A [`Fault`] whose kind decides the status that the client sees.
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>>;

    /// Whether the process works at all.
    fn live(&self) -> bool {
        true
    }

    /// Whether every model that should serve is ready, and the server is not draining.
    fn ready(&self) -> bool;

    /// Whether this model (this version of it, where one is named) is ready to answer.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] for a model or version that is not there.
    fn model_ready(&self, model: &ModelRef) -> Result<bool, Fault>;

    /// Name, version and extensions of the server.
    fn server_metadata(&self) -> ServerMetadata;

    /// Inputs and outputs of a model.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] for a model or version that is not there,
    /// [`crate::ErrorKind::Unavailable`] for one that failed to load or is still loading.
    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault>;
}
