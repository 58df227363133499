//! The tensors that requests carry: laid out by the model's metadata and the command line, filled by a generator or
//! from files.

mod file;
mod generate;
mod layout;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use adulis_tensor::{Tensor, append_element};
use adulis_types::{InferRequest, InputTensor, ModelRef};
use anyhow::{Context, ensure};
use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use file::{Entries, read_entries};
use generate::{Fill, fill};
pub use layout::{InputSpec, ShapeOverride};
use layout::{Layout, lay_out};

/// Where the values of inputs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// Seeded random values.
    Random,
    /// Zeros, and empty strings.
    Zeros,
    /// A JSON file in `perf_analyzer`'s layout.
    Json(PathBuf),
    /// One input's bytes as they go over the wire: little-endian, row-major, BYTES with their length prefixes.
    Raw {
        /// The input.
        input: String,
        /// The file.
        file: PathBuf,
    },
}

impl FromStr for DataSource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "random" => DataSource::Random,
            "zeros" | "zero" => DataSource::Zeros,
            _ => match text.split_once('=') {
                Some((input, file)) => DataSource::Raw { input: input.to_owned(), file: file.into() },
                None => DataSource::Json(text.into()),
            },
        })
    }
}

/// Everything that decides what a request holds.
#[derive(Debug, Clone)]
pub(crate) struct DataPlan {
    pub(crate) model: ModelRef,
    pub(crate) inputs: Vec<InputSpec>,
    pub(crate) shapes: Vec<ShapeOverride>,
    pub(crate) sources: Vec<DataSource>,
    /// Rows per request.
    pub(crate) batch: usize,
    pub(crate) seed: u64,
    /// Bytes of each generated string.
    pub(crate) string_length: usize,
    /// Different requests to generate.
    pub(crate) distinct: usize,
}

impl DataPlan {
    /// Makes the requests that will be sent in turn.
    ///
    /// As many as the JSON file has groups of `batch` rows, else `distinct`.
    ///
    /// # Errors
    /// For dimensions that nothing decides, names that the model lacks, and values that do not fit.
    pub(crate) fn requests(&self) -> anyhow::Result<Vec<InferRequest>> {
        ensure!(self.batch > 0, "a request has at least one row");
        let layouts = lay_out(&self.inputs, &self.shapes, self.batch)?;
        let (json, raw) = self.files(&layouts)?;
        let count = match &json {
            Some(entries) => entries.len().div_ceil(self.batch),
            None => self.distinct.max(1),
        };
        let mut random = SmallRng::seed_from_u64(self.seed);
        let mut requests = Vec::with_capacity(count);
        for index in 0..count {
            let mut request = InferRequest::new(self.model.clone());
            for layout in &layouts {
                let tensor = match (raw.get(&layout.name), &json) {
                    (Some(bytes), _) => raw_tensor(layout, bytes)?,
                    (None, Some(entries)) if entries.has(&layout.name) => {
                        entries.tensor(layout, index * self.batch, self.batch)?
                    }
                    (None, Some(_)) if layout.optional => continue,
                    _ => self.generated(layout, &mut random)?,
                };
                request.inputs.push(InputTensor { name: layout.name.as_str().into(), tensor });
            }
            requests.push(request);
        }
        Ok(requests)
    }

    fn files(&self, layouts: &[Layout]) -> anyhow::Result<(Option<Entries>, BTreeMap<String, Bytes>)> {
        let (mut json, mut raw) = (None, BTreeMap::new());
        for source in &self.sources {
            match source {
                DataSource::Random | DataSource::Zeros => {}
                DataSource::Json(file) => {
                    ensure!(json.is_none(), "more than one JSON file of input data");
                    json = Some(read_entries(file)?);
                }
                DataSource::Raw { input, file } => {
                    ensure!(
                        layouts.iter().any(|layout| layout.name == *input),
                        "input data for `{input}`, which is no input of the model"
                    );
                    let bytes =
                        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
                    raw.insert(input.clone(), bytes.into());
                }
            }
        }
        Ok((json, raw))
    }

    fn generated(&self, layout: &Layout, random: &mut SmallRng) -> anyhow::Result<Tensor> {
        let how = match self.sources.contains(&DataSource::Zeros) {
            true => Fill::Zeros,
            false => Fill::Random { string_length: self.string_length },
        };
        let bytes = fill(layout, how, random)?;
        tensor(layout, bytes)
    }
}

/// A whole tensor, or one row of it that is repeated.
fn raw_tensor(layout: &Layout, bytes: &Bytes) -> anyhow::Result<Tensor> {
    if let Ok(tensor) = Tensor::new(layout.datatype, layout.shape.clone(), bytes.clone()) {
        return Ok(tensor);
    }
    let rows = if layout.is_batched { layout.shape.rows().unwrap_or(1) } else { 1 };
    tensor(layout, bytes.repeat(rows).into())
}

fn tensor(layout: &Layout, bytes: Bytes) -> anyhow::Result<Tensor> {
    Tensor::new(layout.datatype, layout.shape.clone(), bytes)
        .with_context(|| format!("data of input `{}`", layout.name))
}

/// Strings in the wire form of BYTES.
fn wire_strings<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for string in strings {
        append_element(&mut bytes, string)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
