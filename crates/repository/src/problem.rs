use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use adulis_types::{ErrorKind, ServiceError};

use crate::strict::KeyFault;

/// Something wrong in a repository: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file or folder.
    pub path: PathBuf,
    /// The model, where it is one model's problem.
    pub model: Option<String>,
    /// The key in the file, as `dynamic_batching.preferred_batch_size[1]`.
    pub key: Option<String>,
    /// What is wrong, lower-case, without the path.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl fmt::Display for Problem {
    /// `PATH: KEY: MESSAGE; REMEDY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file's name may hold anything, and this line goes to terminals and logs.
        for character in self.path.to_string_lossy().chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        f.write_str(": ")?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// A problem of a file or folder.
    pub(crate) fn of_path(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { path: path.into(), model: None, key: None, message: message.into(), remedy: None }
    }

    /// A problem of a key in a configuration file.
    pub(crate) fn of_key(path: impl Into<PathBuf>, fault: KeyFault) -> Self {
        let message = match fault.line {
            Some(line) => format!("{} (line {line})", fault.message),
            None => fault.message,
        };
        Self {
            path: path.into(),
            model: None,
            key: Some(fault.key).filter(|key| !key.is_empty()),
            message,
            remedy: fault.remedy,
        }
    }

    /// The same, as one of a model.
    pub(crate) fn of_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The same, with what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// A model with problems is not ready; clients are told what is wrong, without the server's paths.
impl ServiceError for Problem {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn client_message(&self) -> Cow<'static, str> {
        let mut text = String::new();
        if let Some(model) = &self.model {
            text.push_str("model ");
            text.push_str(model);
            text.push_str(": ");
        }
        if let Some(key) = &self.key {
            text.push_str(key);
            text.push_str(": ");
        }
        text.push_str(&self.message);
        Cow::Owned(text)
    }
}
