//! The seam between the engine and what executes models.
//!
//! A [`Backend`] loads a model file into a [`Model`]; a model makes [`ModelInstance`]s, each of which one thread at a
//! time drives. The engine knows only these traits; the binary (or an embedder) injects the backends.
//! Those of [`built_in`] need no model file and are there for tests and for sizing a deployment.

mod backend;
mod batch;
mod builtin;
mod error;
mod lender;
mod options;
mod request;
mod responder;
mod signature;

pub use backend::{Backend, Interrupt, LoadRequest, Model, ModelInstance};
pub use batch::{BatchInput, Execution};
pub use builtin::{BuiltIn, Repeat, Sequence, built_in};
pub use error::BackendError;
pub use lender::{Lender, lend_this_thread, while_waiting};
pub use options::{EngineOptions, ExecutionProvider, GraphOptimization};
pub use request::BatchRequest;
pub use responder::{Gone, Responder, Response, ResponseSink};
pub use signature::{Batching, ModelSignature, TensorSpec};
