//! Model repositories: what models there are, and how each is configured. No engine, no network, no clock.
//!
//! [`scan`] takes what people name on the command line (model files, model folders, repositories in Triton's layout)
//! and gives a [`Scan`]: the models that can be loaded, those that cannot with the reasons, and nothing in between. It
//! never stops at the first fault, and never writes. [`Repositories`] are the same paths for a server that looks again
//! while it runs: for one model by its name, or for what has changed; a [`RemoteRepository`] among them is mirrored into a
//! local folder first, by whoever implements it.
//!
//! A model is configured by `config.pbtxt` (Triton's schema, in protobuf's text format), `model.toml` (the same names,
//! fewer lines), or a client's document in Triton's JSON form. All three go one way: a table with the schema's names
//! (`pbtxt`, `json`, `strict`), its typed raw form (`raw`), a [`ModelConfig`] that was checked as a whole (`convert`). With
//! none of them, everything is derived from the model itself. The way back is `render`, and [`ModelConfig::document`] is
//! what clients are told.

mod brought;
mod caching;
mod config;
mod convert;
mod document;
mod ensemble;
mod entry;
mod fingerprint;
mod instance;
mod json;
mod labels;
mod links;
mod name;
mod optimization;
mod pbtxt;
mod problem;
mod raw;
mod read;
mod remote;
mod render;
mod safeguards;
mod scan;
mod scheduling;
mod schema;
mod sequence;
pub mod strict;
mod warmup;

pub use caching::Caching;
pub use config::{ModelConfig, TensorConfig, TensorFormat};
pub use document::Completion;
pub use ensemble::{Ensemble, EnsembleStep};
pub use entry::{FailedModel, ModelEntry, ModelVersion, Scan};
pub use fingerprint::{Fingerprint, VersionFingerprint};
pub use instance::{InstanceGroup, InstanceKind, RateLimiter, Resource};
pub use labels::Labels;
pub use optimization::{Accelerator, GraphLevel, Optimization};
pub use problem::Problem;
pub use read::{ConfigFormat, Configured};
pub use remote::{Mirrored, RemoteRepository, is_model_folder, loose_model};
pub use safeguards::Safeguards;
pub use scan::{Repositories, scan};
pub use scheduling::{DynamicBatching, QueuePolicy, Scheduling, TimeoutAction, VersionPolicy};
pub use sequence::{
    ControlKind, FalseTrue, InitialData, InitialState, SequenceBatching, SequenceControl, SequenceState,
    SequenceStrategy,
};
pub use warmup::{Warmup, WarmupData, WarmupInput};
