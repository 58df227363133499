//! What loading and unloading have in common in both protocols.

use adulis_types::{ErrorKind, LoadModel, Name};

use crate::error::{Parsed, excerpt};
use crate::{MAX_LOAD_PARAMETERS, Problem};

/// Parameter of unloading.
pub(crate) const UNLOAD_DEPENDENTS: &str = "unload_dependents";
const CONFIG: &str = "config";
const FILE_PREFIX: &str = "file:";

/// What is wrong with a request about the model repository.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlProblem {
    /// The parameter is not known: taking it for granted would load something else than was meant.
    #[error("unknown parameter '{name}': expected {expected}")]
    Unknown {
        /// The parameter.
        name: Name,
        /// What is taken.
        expected: &'static str,
    },
    /// The contents of a file are not base64.
    #[error("parameter '{name}': expected base64, which this is not at byte {at}")]
    Base64 {
        /// The parameter.
        name: Name,
        /// Where it ceases to be.
        at: usize,
    },
    /// Files came without a configuration.
    #[error("parameter 'file:{path}': files are taken together with a 'config' only")]
    FilesAlone {
        /// The first file's path.
        path: Name,
    },
    /// A repository is named.
    #[error("a repository ('{name}') cannot be named when a model is loaded or unloaded: leave it out")]
    Repository {
        /// What came.
        name: Name,
    },
}

impl ControlProblem {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            ControlProblem::Repository { .. } => ErrorKind::Unsupported,
            ControlProblem::Unknown { .. }
            | ControlProblem::Base64 { .. }
            | ControlProblem::FilesAlone { .. } => ErrorKind::InvalidArgument,
        }
    }
}

/// Parameters of loading.
pub(crate) enum LoadParameter<'a> {
    /// The configuration.
    Config,
    /// The file at this path.
    File(&'a str),
}

impl<'a> LoadParameter<'a> {
    /// The parameter of this name, one of `count`.
    pub(crate) fn of(name: &'a str, count: usize) -> Parsed<Self> {
        if count > MAX_LOAD_PARAMETERS {
            return Err(Box::new(Problem::TooMany { what: "parameters", limit: MAX_LOAD_PARAMETERS }));
        }
        match name.strip_prefix(FILE_PREFIX) {
            Some(path) => Ok(LoadParameter::File(path)),
            None if name == CONFIG => Ok(LoadParameter::Config),
            None => Err(unknown(name, "'config' or 'file:<path>'")),
        }
    }
}

/// That there is no such parameter.
pub(crate) fn unknown(name: &str, expected: &'static str) -> Box<Problem> {
    Box::new(ControlProblem::Unknown { name: excerpt(name.as_bytes()), expected }.into())
}

/// Refuses files without a configuration.
pub(crate) fn checked(load: LoadModel) -> Parsed<LoadModel> {
    match load.files.first() {
        Some((path, _)) if load.config.is_none() => {
            Err(Box::new(ControlProblem::FilesAlone { path: path.clone() }.into()))
        }
        _ => Ok(load),
    }
}

/// Refuses a repository's name where a model is loaded or unloaded: models have one name in all repositories.
pub(crate) fn check_repository(name: &str) -> Parsed<()> {
    if name.is_empty() {
        return Ok(());
    }
    Err(Box::new(ControlProblem::Repository { name: excerpt(name.as_bytes()) }.into()))
}
