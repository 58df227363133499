use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tempfile::TempDir;

/// A model repository in a scratch folder, gone when it is dropped.
#[derive(Debug)]
pub struct TestRepository(TempDir);

/// A model of the built-in `identity` backend: `INPUT0` comes back as `OUTPUT0`, and so on.
#[derive(Debug, Clone, Copy, Default)]
pub struct IdentityModel<'a> {
    /// Datatype as a configuration writes it without its `TYPE_` (`STRING`, not `BYTES`), and dimensions, of each input.
    pub inputs: &'a [(&'a str, &'a str)],
    /// `max_batch_size`; with 0 the first dimension is no batch dimension.
    pub max_batch_size: u32,
    /// The backend's parameters, such as `execute_delay_microseconds`.
    pub parameters: &'a [(&'a str, &'a str)],
    /// What else belongs into the configuration, as it stands there.
    pub more: &'a str,
}

impl TestRepository {
    /// An empty repository.
    ///
    /// # Errors
    /// As the system says.
    pub fn new() -> io::Result<Self> {
        tempfile::tempdir().map(Self)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Adds version 1 of an identity model, or changes its configuration: a server that reads it meanwhile sees the old one or
    /// the new one.
    ///
    /// # Errors
    /// As the system says.
    pub fn identity(&self, name: &str, model: &IdentityModel<'_>) -> io::Result<()> {
        fs::create_dir_all(self.path().join(name).join("1"))?;
        let mut config = tempfile::NamedTempFile::new_in(self.path().join(name))?;
        config.write_all(model.config(name).as_bytes())?;
        config.persist(self.path().join(name).join("config.pbtxt"))?;
        Ok(())
    }

    /// Adds version 1 of a model as a file `model.onnx` with these bytes, and returns the file's path.
    ///
    /// # Errors
    /// As the system says.
    pub fn onnx(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let folder = self.path().join(name).join("1");
        fs::create_dir_all(&folder)?;
        let file = folder.join("model.onnx");
        fs::write(&file, bytes)?;
        Ok(file)
    }
}

impl IdentityModel<'_> {
    /// Its `config.pbtxt`, under a name.
    #[must_use]
    pub fn config(&self, name: &str) -> String {
        let mut text =
            format!("name: \"{name}\"\nbackend: \"identity\"\nmax_batch_size: {}\n", self.max_batch_size);
        for (index, (datatype, dimensions)) in self.inputs.iter().enumerate() {
            for (side, prefix) in [("input", "INPUT"), ("output", "OUTPUT")] {
                let tensor =
                    format!("name: \"{prefix}{index}\" data_type: TYPE_{datatype} dims: [ {dimensions} ]");
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{side} [ {{ {tensor} }} ]");
            }
        }
        for (key, value) in self.parameters {
            let _ = writeln!(text, "parameters {{ key: \"{key}\" value: {{ string_value: \"{value}\" }} }}");
        }
        text.push_str(self.more);
        text.push('\n');
        text
    }
}
