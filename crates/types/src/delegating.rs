use crate::{
    BoxFuture, Fault, IndexEntry, IndexQuery, InferRequest, InferResponse, InferenceService, LoadModel,
    ModelConfigDocument, ModelMetadata, ModelRef, ModelStatistics, ResponseStream, ServerMetadata,
    UnloadModel,
};

/// A service around another one: what it does not answer itself, that one does. Whoever implements it is an
/// [`InferenceService`].
///
/// Both ways of asking have to be written: a service that looks at the one alone would be passed by with the other. A stream
/// that is changed on its way should keep its size hint, by which clients learn that an answer is the last.
///
/// Each method is that of [`InferenceService`] of the same name. On a type of which both traits are in scope a call needs the
/// trait's name: `DelegatingService::infer(self, request)`.
pub trait DelegatingService: Send + Sync + 'static {
    /// The service that this one stands around.
    fn inner(&self) -> &dyn InferenceService;

    /// See [`InferenceService::infer`].
    ///
    /// # Errors
    /// As there.
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>>;

    /// See [`InferenceService::infer_stream`].
    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_>;

    /// See [`InferenceService::decoupled`].
    fn decoupled(&self, model: &ModelRef) -> bool {
        self.inner().decoupled(model)
    }

    /// See [`InferenceService::batches`].
    fn batches(&self, model: &ModelRef) -> bool {
        self.inner().batches(model)
    }

    /// See [`InferenceService::live`].
    fn live(&self) -> bool {
        self.inner().live()
    }

    /// See [`InferenceService::ready`].
    fn ready(&self) -> bool {
        self.inner().ready()
    }

    /// See [`InferenceService::model_ready`].
    ///
    /// # Errors
    /// As there.
    fn model_ready(&self, model: &ModelRef) -> Result<bool, Fault> {
        self.inner().model_ready(model)
    }

    /// See [`InferenceService::server_metadata`].
    fn server_metadata(&self) -> ServerMetadata {
        self.inner().server_metadata()
    }

    /// See [`InferenceService::model_metadata`].
    ///
    /// # Errors
    /// As there.
    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault> {
        self.inner().model_metadata(model)
    }

    /// See [`InferenceService::model_config`].
    ///
    /// # Errors
    /// As there.
    fn model_config(&self, model: &ModelRef) -> Result<ModelConfigDocument, Fault> {
        self.inner().model_config(model)
    }

    /// See [`InferenceService::statistics`].
    ///
    /// # Errors
    /// As there.
    fn statistics(&self, model: Option<&ModelRef>) -> Result<Vec<ModelStatistics>, Fault> {
        self.inner().statistics(model)
    }

    /// See [`InferenceService::repository_index`].
    ///
    /// # Errors
    /// As there.
    fn repository_index(&self, query: &IndexQuery) -> Result<Vec<IndexEntry>, Fault> {
        self.inner().repository_index(query)
    }

    /// See [`InferenceService::load_model`].
    ///
    /// # Errors
    /// As there.
    fn load_model(&self, request: LoadModel) -> BoxFuture<'_, Result<(), Fault>> {
        self.inner().load_model(request)
    }

    /// See [`InferenceService::unload_model`].
    ///
    /// # Errors
    /// As there.
    fn unload_model(&self, request: UnloadModel) -> BoxFuture<'_, Result<(), Fault>> {
        self.inner().unload_model(request)
    }
}

// A method of the service that is not passed on here would have its default in every service that stands around another.
#[deny(clippy::missing_trait_methods)]
impl<S: DelegatingService> InferenceService for S {
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        DelegatingService::infer(self, request)
    }

    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        DelegatingService::infer_stream(self, request)
    }

    fn decoupled(&self, model: &ModelRef) -> bool {
        DelegatingService::decoupled(self, model)
    }

    fn batches(&self, model: &ModelRef) -> bool {
        DelegatingService::batches(self, model)
    }

    fn live(&self) -> bool {
        DelegatingService::live(self)
    }

    fn ready(&self) -> bool {
        DelegatingService::ready(self)
    }

    fn model_ready(&self, model: &ModelRef) -> Result<bool, Fault> {
        DelegatingService::model_ready(self, model)
    }

    fn server_metadata(&self) -> ServerMetadata {
        DelegatingService::server_metadata(self)
    }

    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault> {
        DelegatingService::model_metadata(self, model)
    }

    fn model_config(&self, model: &ModelRef) -> Result<ModelConfigDocument, Fault> {
        DelegatingService::model_config(self, model)
    }

    fn statistics(&self, model: Option<&ModelRef>) -> Result<Vec<ModelStatistics>, Fault> {
        DelegatingService::statistics(self, model)
    }

    fn repository_index(&self, query: &IndexQuery) -> Result<Vec<IndexEntry>, Fault> {
        DelegatingService::repository_index(self, query)
    }

    fn load_model(&self, request: LoadModel) -> BoxFuture<'_, Result<(), Fault>> {
        DelegatingService::load_model(self, request)
    }

    fn unload_model(&self, request: UnloadModel) -> BoxFuture<'_, Result<(), Fault>> {
        DelegatingService::unload_model(self, request)
    }
}

#[cfg(test)]
mod tests;
