use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::{
    ErrorKind, Failure, Fault, IndexEntry, IndexQuery, InferRequest, InferResponse, LoadModel,
    ModelConfigDocument, ModelMetadata, ModelRef, ModelStatistics, ServerMetadata, UnloadModel,
};

/// A boxed future, so that the service can be an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers of one request, any number of them; ends after the last, or with an error. An answer behind which the size hint is
/// exactly zero, as [`one_response`]'s is, is told to clients as the last; where the hint does not say so, they may ask to be
/// told of the end by an empty answer.
///
/// Dropping it cancels what is not answered yet.
pub type ResponseStream<'a> = Pin<Box<dyn Stream<Item = Result<InferResponse, Fault>> + Send + 'a>>;

/// What the frontends serve. The engine is one; embedders may bring their own, and need only write what has no default: the rest
/// answers that it is not supported. Who wraps one writes a [`DelegatingService`](crate::DelegatingService), which passes on
/// whatever it does not answer.
pub trait InferenceService: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// Dropping the future cancels the request: it leaves the queue, or its result is dropped if it is being executed.
    ///
    /// # Errors
    /// A [`Fault`] whose kind decides the status that the client sees; [`ErrorKind::Unsupported`] for a decoupled model,
    /// which may answer any number of times.
    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>>;

    /// Answers one request as many times as the model does: once, where it is not decoupled.
    ///
    /// # Errors
    /// As [`InferenceService::infer`], as the stream's last item.
    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        one_response(self.infer(request))
    }

    /// Whether a model may answer a request any number of times. Not for one that is not there. Streams keep the answers of all
    /// other models in the order of their requests.
    fn decoupled(&self, model: &ModelRef) -> bool {
        let _ = model;
        false
    }

    /// Whether the first dimension of a model's inputs counts rows, so that a request may have several. Not for one that is not
    /// there.
    fn batches(&self, model: &ModelRef) -> bool {
        let _ = model;
        false
    }

    /// Whether the process works at all.
    fn live(&self) -> bool {
        true
    }

    /// Whether every model that should serve is ready, and the server is not draining.
    fn ready(&self) -> bool;

    /// Whether this model (this version of it, where one is named) is ready to answer.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a model or version that is not there.
    fn model_ready(&self, model: &ModelRef) -> Result<bool, Fault>;

    /// Name, version and extensions of the server.
    fn server_metadata(&self) -> ServerMetadata;

    /// Inputs and outputs of a model.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a model or version that is not there,
    /// [`ErrorKind::Unavailable`] for one that failed to load or is still loading.
    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault>;

    /// A model's configuration as it is in effect.
    ///
    /// # Errors
    /// As [`InferenceService::model_metadata`].
    fn model_config(&self, model: &ModelRef) -> Result<ModelConfigDocument, Fault> {
        let _ = model;
        Err(unsupported("model configuration"))
    }

    /// Statistics of one model version, of all versions of a model, or of all models: those that are loaded, by name
    /// and version.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a model or version that is not there.
    fn statistics(&self, model: Option<&ModelRef>) -> Result<Vec<ModelStatistics>, Fault> {
        let _ = model;
        Err(unsupported("statistics"))
    }

    /// The models of all repositories, by name and version.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the service has no repositories.
    fn repository_index(&self, query: &IndexQuery) -> Result<Vec<IndexEntry>, Fault> {
        let _ = query;
        Err(unsupported("the model repository extension"))
    }

    /// Loads a model, or loads it again: the old one answers until the new one is ready, and goes on if that fails.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where the model cannot be loaded, with the reason, or where models are not loaded on
    /// request.
    fn load_model(&self, request: LoadModel) -> BoxFuture<'_, Result<(), Fault>> {
        let _ = request;
        Box::pin(std::future::ready(Err(unsupported("the model repository extension"))))
    }

    /// Unloads a model: it takes no more requests, and those it has are answered.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where models are not unloaded on request. Not for a model that is not loaded.
    fn unload_model(&self, request: UnloadModel) -> BoxFuture<'_, Result<(), Fault>> {
        let _ = request;
        Box::pin(std::future::ready(Err(unsupported("the model repository extension"))))
    }
}

fn unsupported(what: &str) -> Fault {
    Failure::new(ErrorKind::Unsupported, format!("{what} is not supported by this service")).into()
}

/// The stream of a single answer. Its size hint says so, by which frontends know that this answer is the last.
pub fn one_response(answer: BoxFuture<'_, Result<InferResponse, Fault>>) -> ResponseStream<'_> {
    Box::pin(Once(Some(answer)))
}

struct Once<'a>(Option<BoxFuture<'a, Result<InferResponse, Fault>>>);

impl Stream for Once<'_> {
    type Item = Result<InferResponse, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(answer) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let item = ready!(answer.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(Some(item))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.0.is_some());
        (left, Some(left))
    }
}
