use std::fmt;
use std::path::PathBuf;

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
    /// `PATH: KEY: MESSAGE (REMEDY)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}
