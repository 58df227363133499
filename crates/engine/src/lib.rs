//! The engine: takes a decoded request, admits it, lets it share a batch, runs it, and hands its outputs back.
//!
//! ```text
//! infer ─ resolve ─ admit ─ (response cache) ─┬─ inline run (cheaper than a thread hand-over) ─────────────┬─ answer
//!                                             └─ queue ─ execution thread: bind batch, gather, run, scatter ┘
//! ```
//!
//! Models come and go while requests run. A load makes its versions beside what serves and swaps them in one moment; what was
//! swapped out answers what it has and is dropped when nobody holds it:
//!
//! ```text
//! request, start, poll ─ task of a model ─ load ─ warm up ─ swap in the table ─┬─ serves
//!                                                                              └─ the old ones finish ─ dropped
//! ```
//!
//! Invariants:
//! - What passed admission fits its model: names, datatypes, shapes and rows agree with the signature.
//! - An instance is held by one thread at a time. It is in its model's free list, or exactly one run has it.
//! - A model is in the executor's ready set at most once; whoever takes it out looks at its queue under the model's lock.
//! - Every job is answered exactly once, or its caller is gone: the reply channel is dropped with it.
//! - The executor's lock is never held while a model's lock is taken.
//! - A request holds its model from the look-up to its answer, and a run to its end. What has left the table only loses
//!   holders; when the last is gone, so are its key in the executor and its memory.
//! - Execution threads belong to the device, not to models: their number does not depend on how many models are loaded.
//!
//! There is no protocol here and no engine library: frontends call [`Engine`] as an `InferenceService`, and the
//! binary injects backends.

mod admission;
mod cached;
mod caching;
mod classification;
mod composing;
mod control;
mod decoupled;
mod effective;
mod engine;
mod ensemble;
mod error;
mod executor;
mod finite;
mod flow;
mod inline;
mod instance;
mod instances;
mod job;
mod lane;
mod lifecycle;
mod load;
mod loaders;
mod overrides;
mod padding;
mod plan;
mod poll;
mod rate;
mod requests;
mod reshape;
mod retired;
mod run;
mod sequences;
mod serving;
mod settings;
mod source;
mod statistics;
mod table;
mod warmup;
mod watch;
mod watchdog;
mod zeros;

pub use adulis_batcher::ResourceLimit;
pub use adulis_cache::{CacheSettings, GuardedTier};
pub use control::{ControlError, ControlMode, StartModels};
pub use engine::Engine;
pub use error::{EngineError, LoadError};
pub use plan::check_supported;
pub use rate::RateLimit;
pub use settings::{Admission, Settings};
