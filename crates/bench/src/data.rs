//! The tensors that requests carry: laid out by the model's metadata and the command line, filled by a generator or
//! from files.

mod file;
mod generate;
mod layout;

use std::collections::{BTreeMap, HashSet};
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
    pub(crate) distinct: Distinct,
    /// Whether it is an error if two of the requests are the same.
    pub(crate) all_differ: bool,
}

/// How many different requests are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distinct {
    /// So many.
    Exactly(usize),
    /// So many, or as many as have no more tensor data than this together; at least one.
    AsManyAs {
        /// Most requests.
        requests: usize,
        /// Most bytes.
        bytes: usize,
    },
}

/// How often a generated request is made anew that was there already.
const TRIES: usize = 100;

impl DataPlan {
    /// Makes the requests that will be sent.
    ///
    /// As many as the JSON file has groups of `batch` rows, else as `distinct` says.
    ///
    /// # Errors
    /// For dimensions that nothing decides, names that the model lacks, and values that do not fit; and where requests must
    /// differ, for inputs that do not have so many values.
    pub(crate) fn requests(&self) -> anyhow::Result<Vec<InferRequest>> {
        ensure!(self.batch > 0, "a request has at least one row");
        let layouts = lay_out(&self.inputs, &self.shapes, self.batch)?;
        let (json, raw) = self.files(&layouts)?;
        let (count, limit) = match (&json, self.distinct) {
            (Some(entries), _) => (entries.len().div_ceil(self.batch), usize::MAX),
            (None, Distinct::Exactly(count)) => (count.max(1), usize::MAX),
            (None, Distinct::AsManyAs { requests, bytes }) => (requests.max(1), bytes),
        };
        let mut filling = Filling {
            plan: self,
            layouts,
            raw,
            random: SmallRng::seed_from_u64(self.seed),
            seen: (self.all_differ && json.is_none()).then(HashSet::new),
            json,
        };
        let (mut requests, mut bytes) = (Vec::new(), 0_usize);
        while requests.len() < count {
            let Some(request) = filling.another(requests.len())? else {
                let (made, is_limit) = (requests.len(), matches!(self.distinct, Distinct::AsManyAs { .. }));
                ensure!(
                    is_limit && made > 1,
                    "{made} of {count} requests differ: the inputs have no more values"
                );
                break;
            };
            let size = request.inputs.iter().map(|input| input.tensor.data().len());
            bytes = bytes.saturating_add(size.sum());
            if bytes > limit && !requests.is_empty() {
                break;
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

/// Requests being filled with values.
struct Filling<'p> {
    plan: &'p DataPlan,
    layouts: Vec<Layout>,
    json: Option<Entries>,
    raw: BTreeMap<String, Bytes>,
    random: SmallRng,
    /// The data of all before, where none may come again.
    seen: Option<HashSet<Vec<Bytes>>>,
}

impl Filling<'_> {
    /// The next request; `None` where there is no other that was not there before.
    fn another(&mut self, index: usize) -> anyhow::Result<Option<InferRequest>> {
        for _ in 0..TRIES {
            let request = self.request(index)?;
            let Some(seen) = &mut self.seen else {
                return Ok(Some(request));
            };
            let data = request.inputs.iter().map(|input| input.tensor.data().clone());
            if seen.insert(data.collect()) {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    fn request(&mut self, index: usize) -> anyhow::Result<InferRequest> {
        let batch = self.plan.batch;
        let mut request = InferRequest::new(self.plan.model.clone());
        for layout in &self.layouts {
            let tensor = match (self.raw.get(&layout.name), &self.json) {
                (Some(bytes), _) => raw_tensor(layout, bytes)?,
                (None, Some(entries)) if entries.has(&layout.name) => {
                    entries.tensor(layout, index * batch, batch)?
                }
                (None, Some(_)) if layout.optional => continue,
                _ => self.plan.generated(layout, &mut self.random)?,
            };
            request.inputs.push(InputTensor { name: layout.name.as_str().into(), tensor });
        }
        Ok(request)
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
