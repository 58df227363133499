//! What clients may ask of the models as a whole: their index, their configuration, loading and unloading.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Identity, Name};

/// What `POST /v2/repository/index` and `RepositoryIndex` ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexQuery {
    /// Only models of this repository; empty means all.
    pub repository: Name,
    /// Only models that are ready.
    pub ready: bool,
    /// Whether repositories that lie elsewhere are asked what they hold now, which blocks; else it is told what they held when
    /// they were asked last.
    pub fresh: bool,
}

/// One line of the index of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The model's name.
    pub name: Arc<str>,
    /// The version; `None` for a model that was never loaded, or as a whole could not be.
    pub version: Option<u64>,
    /// Its state; `None` for a model that was never loaded.
    pub state: Option<ModelState>,
    /// Why it is in that state; empty where there is nothing to say.
    pub reason: Arc<str>,
}

/// State of a model version, in Triton's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelState {
    /// It is being loaded; no earlier version of it answers.
    Loading,
    /// It answers.
    Ready,
    /// It is finishing what it has, and takes no more.
    Unloading,
    /// It does not answer: it failed to load, or was unloaded.
    Unavailable,
}

impl fmt::Display for ModelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModelState::Loading => "LOADING",
            ModelState::Ready => "READY",
            ModelState::Unloading => "UNLOADING",
            ModelState::Unavailable => "UNAVAILABLE",
        })
    }
}

/// A model to load, or to load again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadModel {
    /// The model's name.
    pub name: Name,
    /// A configuration in Triton's JSON form that stands in for the model's own.
    pub config: Option<Bytes>,
    /// Files that stand in for the model's folder, by path relative to it (`1/model.onnx`). Only with `config`.
    pub files: Vec<(Name, Bytes)>,
    /// Who asks; `None` where nobody is asked who they are. The models that an ensemble is made of must be among theirs.
    pub identity: Option<Arc<Identity>>,
}

/// A model to unload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnloadModel {
    /// The model's name.
    pub name: Name,
    /// Whether the models that an ensemble is made of go with it.
    pub unload_dependents: bool,
}

/// A model's configuration as it is in effect, completed from the model: the same content in both forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfigDocument {
    /// Triton's JSON form of `inference.ModelConfig`.
    pub json: Bytes,
    /// The same message, encoded.
    pub protobuf: Bytes,
}
