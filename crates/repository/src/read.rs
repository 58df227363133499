use std::path::Path;

use crate::ModelConfig;
use crate::convert::Check;
use crate::raw::RawModel;
use crate::strict::{Faults, KeyFault, read_table, read_toml};
use crate::{json, pbtxt, render};

/// Longest configuration, however it is written.
pub(crate) const MAX_CONFIG_BYTES: usize = 1 << 20;

/// The two kinds of model configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigFormat {
    /// `config.pbtxt`: Triton's schema in protobuf's text format.
    Pbtxt,
    /// `model.toml`: the same names in TOML.
    Toml,
}

impl ConfigFormat {
    /// Both.
    pub const ALL: [ConfigFormat; 2] = [ConfigFormat::Pbtxt, ConfigFormat::Toml];

    /// The file's name in a model's folder.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            ConfigFormat::Pbtxt => "config.pbtxt",
            ConfigFormat::Toml => "model.toml",
        }
    }
}

/// A configuration that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// The configuration.
    pub config: ModelConfig,
    /// Keys that are ignored and do no harm.
    pub notes: Vec<KeyFault>,
}

impl ModelConfig {
    /// Reads the text of a configuration file for model `name`, whose label and warm-up files lie in `directory`.
    ///
    /// # Errors
    /// All that is wrong with it: never empty.
    pub fn read(
        format: ConfigFormat,
        text: &str,
        name: &str,
        directory: &Path,
    ) -> Result<Configured, Vec<KeyFault>> {
        let (raw, faults) = match format {
            ConfigFormat::Toml => read_toml::<RawModel>(text),
            ConfigFormat::Pbtxt => {
                let mut faults = Faults::default();
                let table = pbtxt::parse(text, &mut faults);
                (read_table::<RawModel>(table, &mut faults), faults)
            }
        };
        Self::checked(&raw, faults, name, directory)
    }

    /// Reads Triton's JSON form of a configuration, which stands in for the file's when a client loads model `name`.
    ///
    /// Takes what [`ModelConfig::document`] and Triton give out, and what protobuf's printers write: numbers as texts,
    /// enumerations as numbers, names in lowerCamelCase.
    ///
    /// # Errors
    /// All that is wrong with it: never empty. Unknown keys are.
    pub fn read_json(text: &[u8], name: &str, directory: &Path) -> Result<Configured, Vec<KeyFault>> {
        let mut faults = Faults::default();
        if text.len() > MAX_CONFIG_BYTES {
            faults.push("", "the configuration is larger than 1 MiB");
            return Err(faults.into_vec());
        }
        let table = json::parse(text, &mut faults);
        let raw = read_table::<RawModel>(table, &mut faults);
        Self::checked(&raw, faults, name, directory)
    }

    fn checked(
        raw: &RawModel,
        faults: Faults,
        name: &str,
        directory: &Path,
    ) -> Result<Configured, Vec<KeyFault>> {
        let mut check = Check { model: name, directory, notes: faults.same_file(), faults };
        let config = check.model(raw);
        if check.faults.is_empty() {
            let notes = check.notes.into_vec();
            return Ok(Configured { config, notes });
        }
        Err(check.faults.into_vec())
    }

    /// The configuration as a `model.toml` that reads back to the same.
    #[must_use]
    pub fn to_toml(&self) -> String {
        render::to_toml(self)
    }
}

#[cfg(test)]
mod tests;
