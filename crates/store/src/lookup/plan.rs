use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use adulis_types::{InferRequest, InputTensor, ModelMetadata, Name, TensorMetadata};
use bytes::Bytes;

use super::cache::Row;
use super::config::{LookupConfig, Missing};
use super::error::LookupError;
use super::loader::Loader;
use super::lookups::Lookups;
use super::source::SourceError;
use super::value::{append_cell, default_cell, ids_of};

/// Ids of one request.
const MAX_IDS: usize = 100_000;

/// One lookup of a model, fitted to its inputs.
#[derive(Debug)]
pub(crate) struct Plan {
    model: Name,
    key: Name,
    datatype: DataType,
    inputs: Vec<Planned>,
    /// Of each column.
    defaults: Vec<Option<Bytes>>,
    columns: Vec<String>,
    missing: Missing,
    loader: Arc<Loader>,
}

#[derive(Debug)]
struct Planned {
    name: Name,
    datatype: DataType,
    /// Its columns among all.
    columns: std::ops::Range<usize>,
    /// Whether its shape is `[rows]`, `[rows, columns]`, or `[columns]`, of one row.
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Rows,
    RowsAndColumns,
    Columns,
}

impl Plan {
    /// Fits a lookup to a model.
    pub(crate) fn new(
        config: &LookupConfig,
        metadata: &ModelMetadata,
        lookups: &Lookups,
    ) -> Result<Self, String> {
        let datatype: DataType = config
            .datatype
            .parse()
            .map_err(|error| format!("datatype {:?}: {error}", config.datatype))?;
        if !is_key(datatype) {
            return Err(format!("{datatype} is no datatype of ids: expected BYTES or whole numbers"));
        }
        let (mut inputs, mut columns, mut defaults) = (Vec::new(), Vec::new(), Vec::new());
        for (name, of_input) in &config.inputs {
            let found = metadata.inputs.iter().find(|input| *input.name == **name);
            let tensor = found.ok_or_else(|| format!("the model has no input {name:?}"))?;
            let names = of_input.names();
            let first = columns.len();
            for column in names {
                let default = config.defaults.get(column).map(|value| {
                    let wrong = || format!("the default of {column:?} is no {}", tensor.datatype);
                    let cell = default_cell(value).ok_or_else(wrong)?;
                    append_cell(&mut Vec::new(), tensor.datatype, &cell).ok_or_else(wrong)?;
                    Ok::<_, String>(cell)
                });
                defaults.push(default.transpose()?);
                columns.push(column.clone());
            }
            inputs.push(Planned {
                name: name.as_str().into(),
                datatype: tensor.datatype,
                columns: first..columns.len(),
                form: form(tensor, names.len())?,
            });
        }
        let source = lookups.source(config, columns.clone())?;
        let ttl = Duration::from_secs(config.ttl_seconds.into());
        Ok(Self {
            model: (&*metadata.name).into(),
            key: config.key.as_str().into(),
            datatype,
            inputs,
            defaults,
            columns,
            missing: config.missing,
            loader: Arc::new(Loader::new(source, ttl)),
        })
    }

    /// The model's inputs as clients see them: the key in place of what is looked up.
    pub(crate) fn show(&self, inputs: &mut Vec<TensorMetadata>) {
        let batches = inputs.first().is_some_and(|input| input.shape.first() == Some(&-1));
        inputs.retain(|input| !self.inputs.iter().any(|planned| *planned.name == *input.name));
        let shape = if batches { ShapePattern::new(&[-1, 1]) } else { ShapePattern::new(&[1]) };
        inputs.push(TensorMetadata {
            name: (&*self.key).into(),
            datatype: self.datatype,
            shape,
            optional: false,
        });
    }

    /// Puts the features of the ids that a request brings in their place. A request without the key stays as it is: it has
    /// to bring the inputs itself.
    pub(crate) async fn enrich(&self, request: &mut InferRequest) -> Result<(), LookupError> {
        let Some(index) = request.inputs.iter().position(|input| input.name == self.key) else {
            return Ok(());
        };
        let brought =
            request.inputs.iter().find(|input| self.inputs.iter().any(|own| own.name == input.name));
        if let Some(input) = brought {
            let reason = format!("is looked up by {:?}, which is there, too: send one of them", self.key);
            return Err(self.input(&input.name, reason));
        }
        let key = request.inputs.remove(index).tensor;
        if key.datatype() != self.datatype {
            let reason = format!("expected {}, got {}", self.datatype, key.datatype());
            return Err(self.input(&self.key, reason));
        }
        if key.elements() > MAX_IDS {
            return Err(self.input(&self.key, format!("has more than {MAX_IDS} ids")));
        }
        let ids = ids_of(&key).map_err(|reason| self.input(&self.key, reason))?;
        let rows = self.rows(&ids, request).await?;
        for planned in &self.inputs {
            let tensor = self.tensor(planned, &ids, &rows)?;
            request.inputs.push(InputTensor { name: planned.name.clone(), tensor });
        }
        Ok(())
    }

    /// Within the time that the client waits.
    async fn rows(&self, ids: &[Bytes], request: &InferRequest) -> Result<HashMap<Bytes, Row>, LookupError> {
        let reading = self.loader.rows(ids);
        let read = match request.timeout.and_then(|timeout| request.arrived.checked_add(timeout)) {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), reading).await.map_err(|_| {
                LookupError::Deadline { model: self.model.clone(), input: self.key.to_string() }
            })?,
            None => reading.await,
        };
        read.map_err(|source| self.unread(source))
    }

    fn unread(&self, source: SourceError) -> LookupError {
        let (model, input) = (self.model.clone(), self.key.to_string());
        if let Some(fault) = source.fault_of_ids() {
            tracing::debug!(model = &*model, input, reason = %source.detail(), "ids of a request cannot be looked up");
            return self.input(&input, fault.to_owned());
        }
        if source.is_configuration() {
            return LookupError::Configuration { model, reason: source.detail() };
        }
        LookupError::Source { model, input, source }
    }

    fn tensor(
        &self,
        planned: &Planned,
        ids: &[Bytes],
        rows: &HashMap<Bytes, Row>,
    ) -> Result<Tensor, LookupError> {
        let (columns, words) = (planned.columns.len(), self.loader.words());
        let shape = match planned.form {
            Form::Rows => Shape::new(&[ids.len()]),
            Form::RowsAndColumns => Shape::new(&[ids.len(), columns]),
            Form::Columns if ids.len() == 1 => Shape::new(&[columns]),
            Form::Columns => {
                return Err(self.input(&self.key, format!("expected one id, got {}", ids.len())));
            }
        };
        let mut data = Vec::with_capacity(ids.len() * columns * planned.datatype.size_bytes().unwrap_or(8));
        for id in ids {
            let row = rows.get(id).and_then(Option::as_deref);
            if row.is_none() && self.missing == Missing::Error {
                let (model, input) = (self.model.clone(), self.key.to_string());
                return Err(LookupError::Missing { model, input, id: shown(id) });
            }
            for column in planned.columns.clone() {
                let found = row.and_then(|row| row[column].as_ref()).or(self.defaults[column].as_ref());
                let fault = |what: String| {
                    let (cell, name, id) = (words.cell, &self.columns[column], shown(id));
                    self.input(&planned.name, format!("{cell} {name:?} of {id} is {what}"))
                };
                let cell = found.ok_or_else(|| fault(format!("{} and has no default", words.empty)))?;
                append_cell(&mut data, planned.datatype, cell)
                    .ok_or_else(|| fault(format!("no {}", planned.datatype)))?;
            }
        }
        Tensor::new(planned.datatype, shape, data.into())
            .map_err(|error| self.input(&planned.name, error.to_string()))
    }

    fn input(&self, input: &str, reason: String) -> LookupError {
        LookupError::Input { model: self.model.clone(), input: input.to_owned(), reason }
    }
}

fn form(tensor: &TensorMetadata, columns: usize) -> Result<Form, String> {
    let takes = |extent: i64| extent < 0 || usize::try_from(extent) == Ok(columns);
    match &tensor.shape[..] {
        [_] if columns == 1 => Ok(Form::Rows),
        [extent] if takes(*extent) => Ok(Form::Columns),
        [_, extent] if takes(*extent) => Ok(Form::RowsAndColumns),
        _ => Err(format!(
            "input {:?} has shape {}, which is not that of {columns} columns for each row",
            tensor.name, tensor.shape
        )),
    }
}

fn is_key(datatype: DataType) -> bool {
    let floats = [DataType::Fp16, DataType::Bf16, DataType::Fp32, DataType::Fp64];
    !floats.contains(&datatype) && !matches!(datatype, DataType::Bool | DataType::Uint64)
}

/// An id for a message.
fn shown(id: &[u8]) -> String {
    String::from_utf8_lossy(id).into_owned()
}
