//! From what is written to a [`ModelConfig`]: every value and every relation between values is checked, and all that is
//! wrong is told at once.

mod caching;
mod ensemble;
mod instances;
mod optimization;
mod safeguards;
mod scheduling;
mod sequence;
mod tensors;
mod unsupported;
mod versions;
mod warmup;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::Value;

use crate::name::is_plain_file_name;
use crate::raw::RawModel;
use crate::strict::{Faults, near_miss};
use crate::{ModelConfig, Scheduling};

/// Largest number that Triton's schema has for a batch size; no machine comes near it.
const MAX_BATCH_SIZE: i64 = i32::MAX as i64;

/// Platforms that have a backend here, with its name.
const PLATFORMS: [(&str, &str); 5] = [
    ("onnxruntime_onnx", "onnxruntime"),
    ("tract_onnx", "tract"),
    ("identity", "identity"),
    ("repeat", "repeat"),
    ("sequence", "sequence"),
];

/// The check of one model's configuration: where it lies, and what was found so far.
pub(crate) struct Check<'a> {
    /// The model's name, which is its folder's.
    pub(crate) model: &'a str,
    /// The model's folder, in which label and warm-up files lie.
    pub(crate) directory: &'a Path,
    /// What is wrong.
    pub(crate) faults: Faults,
    /// What is ignored and does no harm.
    pub(crate) notes: Faults,
}

impl Check<'_> {
    /// Checks everything. What is at fault has its default in the result, which is of use only without faults.
    pub(crate) fn model(&mut self, raw: &RawModel) -> ModelConfig {
        self.unsupported(raw);
        self.name(raw);
        let max_batch_size = self.max_batch_size(raw.max_batch_size);
        let parameters = self.parameters(&raw.parameters);
        let cache = raw.response_cache.as_ref();
        let transactions = raw.model_transaction_policy.as_ref();
        let config = ModelConfig {
            name: self.model.to_owned(),
            backend: self.backend(raw),
            platform: raw.platform.clone().filter(|platform| !platform.is_empty()),
            max_batch_size,
            inputs: self.inputs(&raw.input),
            outputs: self.outputs(&raw.output),
            version_policy: self.version_policy(raw.version_policy.as_ref()),
            instance_group: self.instance_groups(&raw.instance_group),
            scheduling: self.scheduling(raw, max_batch_size),
            decoupled: transactions.is_some_and(|policy| policy.decoupled),
            response_cache: cache.is_some_and(|cache| cache.enable),
            caching: self.caching(&parameters),
            safeguards: self.safeguards(&parameters),
            warmup: self.warmups(&raw.model_warmup, max_batch_size),
            optimization: self.optimization(&raw.optimization, &parameters),
            parameters,
            metric_tags: self.texts("metric_tags", &raw.metric_tags),
            default_model_filename: self.model_filename(raw.default_model_filename.as_deref()),
            cc_model_filenames: self.texts("cc_model_filenames", &raw.cc_model_filenames),
            runtime: raw.runtime.clone().filter(|runtime| !runtime.is_empty()),
            auto_complete: raw.max_batch_size.is_none() && raw.input.is_empty() && raw.output.is_empty(),
        };
        self.cacheable(&config);
        config
    }

    /// Only a request that has one answer, the same each time, can be answered from the cache.
    fn cacheable(&mut self, config: &ModelConfig) {
        let other = match &config.scheduling {
            _ if !config.response_cache => return,
            _ if config.decoupled => "model_transaction_policy.decoupled",
            Scheduling::Sequence(_) => "sequence_batching",
            _ => return,
        };
        let message = format!("does not go together with {other}");
        self.faults.push_with_remedy("response_cache.enable", message, "leave one of them out");
    }

    fn name(&mut self, raw: &RawModel) {
        if let Some(name) = raw.name.as_deref()
            && !name.is_empty()
            && name != self.model
        {
            let message = format!("is {name:?}, but the model's folder is {:?}", self.model);
            self.faults.push_with_remedy("name", message, "leave it out, or rename the folder");
        }
    }

    fn max_batch_size(&mut self, size: Option<i64>) -> Option<usize> {
        let size = size?;
        self.whole("max_batch_size", size, 0..=MAX_BATCH_SIZE)
    }

    /// The backend as written, or the platform's.
    fn backend(&mut self, raw: &RawModel) -> Option<String> {
        let backend = raw.backend.as_deref().filter(|backend| !backend.is_empty());
        let platform = raw.platform.as_deref().filter(|platform| !platform.is_empty());
        let of_platform = platform.and_then(|platform| {
            let known = PLATFORMS.iter().find(|(name, _)| *name == platform);
            known.map(|(_, backend)| *backend)
        });
        match (backend, platform, of_platform) {
            (Some(backend), Some(platform), Some(of_platform)) if backend != of_platform => {
                let message =
                    format!("{platform:?} is of backend {of_platform:?}, but backend is {backend:?}");
                self.faults.push_with_remedy("platform", message, "leave one of them out");
            }
            (None, Some(platform), None) if platform != "ensemble" => {
                let known = PLATFORMS.map(|(name, _)| name);
                let message = format!("{platform:?} is not supported: expected one of {}", known.join(", "));
                self.faults.push_with_hint("platform", message, near_miss(platform, known));
            }
            _ => {}
        }
        backend.or(of_platform).map(str::to_owned)
    }

    fn model_filename(&mut self, name: Option<&str>) -> Option<String> {
        let name = name.filter(|name| !name.is_empty())?;
        if !is_plain_file_name(name) {
            let message = format!("{name:?} is not the name of a file in the version's folder");
            self.faults.push("default_model_filename", message);
            return None;
        }
        Some(name.to_owned())
    }

    /// Free parameters as text: TOML's scalars, or the schema's `{ string_value }`.
    fn parameters(&mut self, raw: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
        let mut parameters = BTreeMap::new();
        for (key, value) in raw {
            let text = match value {
                Value::Table(table) if table.is_empty() => Some(String::new()),
                Value::Table(table) if table.len() == 1 => table.get("string_value").and_then(scalar_text),
                value => scalar_text(value),
            };
            match text {
                Some(text) => {
                    parameters.insert(key.clone(), text);
                }
                None => {
                    let message = "expected text, a number or true or false";
                    self.faults.push(format!("parameters.{key}"), message);
                }
            }
        }
        parameters
    }

    /// Pairs of texts: TOML's scalars count as their text.
    fn texts(&mut self, key: &str, raw: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (name, value) in raw {
            match scalar_text(value) {
                Some(text) => drop(texts.insert(name.clone(), text)),
                None => self.faults.push(format!("{key}.{name}"), "expected text, a number or true or false"),
            }
        }
        texts
    }

    /// A name that must be there; empty where it is not.
    fn required(&mut self, key: &str, name: Option<&str>) -> String {
        let name = name.unwrap_or_default();
        if name.is_empty() {
            self.faults.push(key, "is missing");
        }
        name.to_owned()
    }

    /// A whole number within limits.
    fn whole<N: TryFrom<i64>>(
        &mut self,
        key: impl Into<String>,
        value: i64,
        limits: RangeInclusive<i64>,
    ) -> Option<N> {
        if limits.contains(&value)
            && let Ok(number) = N::try_from(value)
        {
            return Some(number);
        }
        let range = if value < *limits.start() {
            format!("expected at least {}, got {value}", limits.start())
        } else {
            format!("expected at most {}, got {value}", limits.end())
        };
        self.faults.push(key, range);
        None
    }
}

/// A scalar as text.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}
