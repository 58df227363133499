use std::fs;
use std::path::{Path, PathBuf};

use adulis_backend::{BackendError, GraphOptimization};

use crate::api::OrtError;
use crate::environment::Environment;
use crate::optimized::OptimizedEntry;
use crate::placement;
use crate::provider::Provider;
use crate::session::Session;
use crate::session_options::{SessionOptions, Settings};

/// All that it takes to make a session of one model.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) environment: &'static Environment,
    pub(crate) path: PathBuf,
    pub(crate) settings: Settings,
    /// Providers before the CPU, first choice first.
    pub(crate) providers: Vec<Provider>,
    pub(crate) optimized_cache: Option<PathBuf>,
}

/// Why no session was made.
#[derive(Debug)]
pub(crate) enum RecipeError {
    /// A provider could not be added.
    Provider {
        /// Its place in the recipe.
        index: usize,
        name: String,
        reason: String,
    },
    /// The model could not be loaded with what was added.
    Session(OrtError),
}

impl From<OrtError> for RecipeError {
    fn from(error: OrtError) -> Self {
        Self::Session(error)
    }
}

impl RecipeError {
    pub(crate) fn into_backend(self, path: &Path) -> BackendError {
        match self {
            RecipeError::Provider { name, reason, .. } => {
                BackendError::Option { option: format!("execution provider {name:?}"), reason }
            }
            RecipeError::Session(OrtError(reason)) => {
                BackendError::Load { path: path.display().to_string(), reason }
            }
        }
    }
}

impl Recipe {
    /// Makes a session, from an optimised model if there is one.
    pub(crate) fn session(&self) -> Result<Session, RecipeError> {
        match self.optimized_entry() {
            Some(entry) => self.cached_session(&entry),
            None => Ok(Session::from_file(self.environment, &self.path, &self.options()?)?),
        }
    }

    fn options(&self) -> Result<SessionOptions, RecipeError> {
        let options = SessionOptions::new(self.environment, &self.settings)?;
        if !self.providers.is_empty() {
            options.set(placement::RECORD, "1")?;
        }
        for (index, provider) in self.providers.iter().enumerate() {
            provider.append(&options).map_err(|OrtError(reason)| RecipeError::Provider {
                index,
                name: provider.name.clone(),
                reason,
            })?;
        }
        Ok(options)
    }

    /// The entry that this model has in the cache, if it can have one. Trouble with the cache is never trouble with the
    /// model: it is logged, and the model is loaded without.
    fn optimized_entry(&self) -> Option<OptimizedEntry> {
        let folder = self.optimized_cache.as_deref()?;
        if !self.providers.is_empty() || self.settings.level == GraphOptimization::Disabled {
            return None;
        }
        let engine = ort::info();
        OptimizedEntry::of(folder, &self.path, engine, &self.settings.graph_key())
            .inspect_err(|error| self.warn_cache(&error.to_string()))
            .ok()
            .flatten()
    }

    fn cached_session(&self, entry: &OptimizedEntry) -> Result<Session, RecipeError> {
        if let Some(model) = entry.read() {
            let options = self.options()?;
            options.set_level(GraphOptimization::Disabled)?;
            match Session::from_bytes(self.environment, &model, &options) {
                Ok(session) => return Ok(session),
                Err(error) => self.warn_cache(&error.to_string()),
            }
        }
        let options = self.options()?;
        let scratch = match entry.scratch() {
            Ok(scratch) => scratch,
            Err(error) => {
                self.warn_cache(&error.to_string());
                return Ok(Session::from_file(self.environment, &self.path, &options)?);
            }
        };
        options.save_optimized(&scratch)?;
        let session = Session::from_file(self.environment, &self.path, &options).or_else(|_| {
            // Some graphs can be run and not saved; one that cannot be loaded fails again, with its own reason.
            Session::from_file(self.environment, &self.path, &self.options_without_saving()?)
        });
        if session.is_ok()
            && scratch.exists()
            && let Err(error) = entry.commit(&scratch)
        {
            self.warn_cache(&error.to_string());
        }
        // Whatever is left of a save that failed; gone already after one that did not.
        let _ = fs::remove_file(&scratch);
        Ok(session?)
    }

    fn options_without_saving(&self) -> Result<SessionOptions, OrtError> {
        SessionOptions::new(self.environment, &self.settings)
    }

    fn warn_cache(&self, reason: &str) {
        tracing::warn!(path = %self.path.display(), reason, "cache of optimised models was not used");
    }
}
