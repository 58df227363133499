//! The seam between the engine and what executes models.
//!
//! A [`Backend`] loads a model file into a [`Model`]; a model makes [`ModelInstance`]s, each of which one thread at a
//! time drives. The engine knows only these traits; the binary (or an embedder) injects the backends.
//! [`BuiltIn`] is the smallest of them: it needs no model file and is there for tests and for sizing a deployment.

mod backend;
mod batch;
mod builtin;
mod error;
mod options;
mod signature;

pub use backend::{Backend, Interrupt, LoadRequest, Model, ModelInstance};
pub use batch::{BatchInput, Execution};
pub use builtin::BuiltIn;
pub use error::BackendError;
pub use options::{EngineOptions, ExecutionProvider, GraphOptimization};
pub use signature::{Batching, ModelSignature, TensorSpec};
