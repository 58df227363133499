use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use adulis_backend::{BackendError, LoadRequest, Model, ModelInstance, ModelSignature};
use parking_lot::Mutex;

use crate::environment::{Environment, c_text};
use crate::instance::{Names, OnnxInstance};
use crate::placement::Placement;
use crate::provider::Provider;
use crate::recipe::{Recipe, RecipeError};
use crate::session::Session;
use crate::session_options::Settings;
use crate::signature::{self, SignatureError};

/// The provider that plans convolutions for one shape at a time.
const CUDA: &str = "CUDAExecutionProvider";

/// File that is looked for where a model's path is a folder.
const FILE_IN_FOLDER: &str = "model.onnx";

/// A model file and how sessions of it are made.
pub(crate) struct OnnxModel {
    recipe: Recipe,
    stamp: Stamp,
    signature: Arc<ModelSignature>,
    names: Arc<Names>,
    placement: String,
    /// Whether CUDA runs convolutions: it plans each anew whenever the shape differs from that of the run before.
    prefers_fixed_batches: bool,
    /// The session that loading made, until an instance takes it.
    first: Mutex<Option<Session>>,
}

impl OnnxModel {
    /// Loads the model: makes its first session, reads its signature and finds out where it runs.
    pub(crate) fn load(
        environment: &'static Environment,
        request: &LoadRequest,
    ) -> Result<Self, BackendError> {
        let path = file_of(&request.path);
        let stamp = Stamp::of(&path)?;
        let bytes = stamp.length + bytes_beside(&path);
        let mut recipe = Recipe {
            environment,
            path,
            settings: Settings::read(&request.options)?.for_model(bytes),
            providers: Provider::read(&request.options)?,
            optimized_cache: request.options.optimized_cache.clone(),
        };
        let session = first_session(&mut recipe, request)?;
        let signature = signature::read(&session).map_err(|error| match error {
            SignatureError::Engine(error) => load_error(&recipe.path, error.to_string()),
            SignatureError::Unsupported(error) => error,
        })?;
        let (placement, prefers_fixed_batches) = placement_of(&recipe, &session, request)?;
        let names = names_of(&signature).map_err(|error| load_error(&recipe.path, error.to_string()))?;
        Ok(Self {
            recipe,
            stamp,
            signature: Arc::new(signature),
            names: Arc::new(names),
            placement,
            prefers_fixed_batches,
            first: Mutex::new(Some(session)),
        })
    }

    /// Another session like the first, unless the file has changed: instances of one version must agree.
    fn another_session(&self) -> Result<Session, BackendError> {
        let path = &self.recipe.path;
        if Stamp::of(path)? != self.stamp {
            return Err(load_error(
                path,
                "the file has changed since the model was loaded; load the model again".to_owned(),
            ));
        }
        self.recipe.session().map_err(|error| error.into_backend(path))
    }
}

impl Model for OnnxModel {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        self.placement.clone()
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn prefers_fixed_batches(&self) -> bool {
        self.prefers_fixed_batches
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        let first = self.first.lock().take();
        let session = first.map_or_else(|| self.another_session(), Ok)?;
        let shared = (self.signature.clone(), self.names.clone());
        OnnxInstance::new(self.recipe.environment, session, shared)
            .map(|instance| Box::new(instance) as Box<dyn ModelInstance>)
            .map_err(|error| load_error(&self.recipe.path, error.to_string()))
    }
}

fn load_error(path: &Path, reason: String) -> BackendError {
    BackendError::Load { path: path.display().to_string(), reason }
}

/// Makes the first session. Where the request allows it, providers that cannot run here are taken out of the recipe,
/// first choice first, each with a warning; a model that does not load on the CPU either fails with the CPU's reason.
fn first_session(recipe: &mut Recipe, request: &LoadRequest) -> Result<Session, BackendError> {
    let mut skipped: Vec<(String, String)> = Vec::new();
    loop {
        let error = match recipe.session() {
            Ok(session) => {
                for (provider, reason) in skipped {
                    warn_skipped(request, &provider, &reason);
                }
                return Ok(session);
            }
            Err(error) => error,
        };
        if !request.options.provider_fallback || recipe.providers.is_empty() {
            return Err(error.into_backend(&recipe.path));
        }
        let (index, reason) = match error {
            RecipeError::Provider { index, reason, .. } => (index, reason),
            RecipeError::Session(error) => (0, error.to_string()),
        };
        skipped.push((recipe.providers.remove(index).name, reason));
    }
}

fn warn_skipped(request: &LoadRequest, provider: &str, reason: &str) {
    tracing::warn!(
        model = %request.name,
        version = request.version,
        provider,
        reason,
        "execution provider skipped"
    );
}

/// Where the model runs, and whether it prefers batches of a fixed size there. Providers that were asked for and that run no node
/// of it are an error, or a warning where falling back is allowed: the engine itself gives their nodes to the CPU without a word.
fn placement_of(
    recipe: &Recipe,
    session: &Session,
    request: &LoadRequest,
) -> Result<(String, bool), BackendError> {
    let threads = match recipe.settings.intra_op_threads {
        0 => format!("shared pool of {}", recipe.environment.pool_threads),
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    if recipe.providers.is_empty() {
        return Ok((format!("CPUExecutionProvider ({threads})"), false));
    }
    let placement = Placement::of(session).map_err(|error| load_error(&recipe.path, error.to_string()))?;
    let taken = placement.nodes_of(recipe.providers.iter().map(|provider| provider.canonical));
    if taken == 0 && placement.nodes() > 0 {
        let names: Vec<_> = recipe.providers.iter().map(|provider| provider.name.as_str()).collect();
        let names = names.join(", ");
        let reason = format!("it runs none of the model's {} nodes: {placement}", placement.nodes());
        if !request.options.provider_fallback {
            return Err(BackendError::Option { option: format!("execution provider {names:?}"), reason });
        }
        warn_skipped(request, &names, &reason);
    }
    Ok((placement.to_string(), placement.convolutions_of(CUDA) > 0))
}

fn names_of(signature: &ModelSignature) -> Result<Names, crate::api::OrtError> {
    let texts = |specs: &[adulis_backend::TensorSpec]| {
        specs.iter().map(|spec| c_text(&spec.name)).collect::<Result<Vec<CString>, _>>()
    };
    Ok(Names { inputs: texts(&signature.inputs)?, outputs: texts(&signature.outputs)? })
}

fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILE_IN_FOLDER) } else { path.to_path_buf() }
}

/// Bytes in the files beside a model file that are no models themselves: its external weights, if it has any.
fn bytes_beside(path: &Path) -> u64 {
    let Some(entries) = path.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return 0;
    };
    let beside = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_none_or(|name| name != "onnx"));
    beside
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

/// What tells that a file is still the one that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, BackendError> {
        let metadata = fs::metadata(path).map_err(|error| load_error(path, error.to_string()))?;
        if metadata.len() == 0 {
            return Err(load_error(path, "the file is empty".to_owned()));
        }
        Ok(Self { length: metadata.len(), modified: metadata.modified().ok() })
    }
}
