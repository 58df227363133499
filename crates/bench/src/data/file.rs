use std::collections::BTreeMap;
use std::path::Path;

use adulis_tensor::{DataType, Shape, Tensor};
use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use half::{bf16, f16};
use serde::Deserialize;
use serde_json::Value;

use super::layout::Layout;
use super::{tensor, wire_strings};

/// Rows of input data from a file. A request of several rows takes that many one after the other, and begins again at
/// the first when they run out.
#[derive(Debug)]
pub(super) struct Entries(Vec<BTreeMap<String, Content>>);

/// One input of one row, in any of the forms that the layout has.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    /// `[1, 2, 3]`, nested or flat; `["a", "b"]` for BYTES.
    Values(Vec<Value>),
    /// `{"content": [1, 2, 3], "shape": [3]}`
    Shaped { content: Vec<Value>, shape: Vec<usize> },
    /// `{"b64": "…"}`, raw bytes; with `"shape"` if need be.
    Base64 {
        b64: String,
        #[serde(default)]
        shape: Option<Vec<usize>>,
    },
}

#[derive(Debug, Deserialize)]
struct Document {
    data: Vec<Stream>,
}

/// A stream of rows, or one row; streams are put one after the other.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stream {
    One(BTreeMap<String, Content>),
    Many(Vec<BTreeMap<String, Content>>),
}

/// Reads a file in `perf_analyzer`'s layout: `{"data": [{"INPUT": [1, 2]}, …]}`.
///
/// Source: perf_analyzer's documentation, "Input Data".
pub(super) fn read_entries(path: &Path) -> anyhow::Result<Entries> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_entries(&text).with_context(|| format!("input data in {}", path.display()))
}

fn parse_entries(text: &[u8]) -> anyhow::Result<Entries> {
    let document: Document = serde_json::from_slice(text).context(
        "expected {\"data\": [{\"INPUT\": [values] or {\"content\": [values], \"shape\": [dims]} or {\"b64\": \"…\"}}, …]}",
    )?;
    let rows: Vec<_> = document
        .data
        .into_iter()
        .flat_map(|stream| match stream {
            Stream::One(row) => vec![row],
            Stream::Many(rows) => rows,
        })
        .collect();
    ensure!(!rows.is_empty(), "`data` is empty");
    Ok(Entries(rows))
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether any row names `input`.
    pub(super) fn has(&self, input: &str) -> bool {
        self.0.iter().any(|row| row.contains_key(input))
    }

    /// The tensor of `rows` rows from row `first` on; of one row, if the input has no rows.
    pub(super) fn tensor(&self, layout: &Layout, first: usize, rows: usize) -> anyhow::Result<Tensor> {
        let rows = if layout.is_batched { rows } else { 1 };
        let mut bytes = Vec::new();
        for index in (first..first + rows).map(|index| index % self.0.len()) {
            let content = self.0[index]
                .get(&layout.name)
                .with_context(|| format!("row {index} lacks input `{}`", layout.name))?;
            content
                .append(layout, &mut bytes)
                .with_context(|| format!("row {index}, input `{}`", layout.name))?;
        }
        tensor(layout, bytes.into())
    }
}

impl Content {
    fn append(&self, layout: &Layout, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
        let expected = layout.row_elements()?;
        let (values, shape) = match self {
            Content::Values(values) => (values, None),
            Content::Shaped { content, shape } => (content, Some(shape)),
            Content::Base64 { b64, shape } => {
                check_shape(shape.as_ref(), expected)?;
                let raw =
                    base64::engine::general_purpose::STANDARD.decode(b64).context("`b64` is not base64")?;
                bytes.extend_from_slice(&raw);
                return Ok(());
            }
        };
        check_shape(shape, expected)?;
        let mut flat = Vec::with_capacity(expected);
        flatten(values, &mut flat);
        ensure!(flat.len() == expected, "expected {expected} values, got {}", flat.len());
        for value in flat {
            append_value(layout.datatype, value, bytes)?;
        }
        Ok(())
    }
}

/// The shape in a file serves as a check: what a request has is decided by metadata and `--shape`.
fn check_shape(shape: Option<&Vec<usize>>, expected: usize) -> anyhow::Result<()> {
    let Some(shape) = shape else {
        return Ok(());
    };
    let shape = Shape::new(shape);
    ensure!(
        shape.elements() == Some(expected),
        "the file has shape {shape}, expected {expected} values: give --shape"
    );
    Ok(())
}

fn flatten<'a>(values: &'a [Value], flat: &mut Vec<&'a Value>) {
    for value in values {
        match value {
            // Depth is bounded: the JSON reader refuses more than 128 levels.
            Value::Array(inner) => flatten(inner, flat),
            other => flat.push(other),
        }
    }
}

fn append_value(datatype: DataType, value: &Value, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    let integer = || value.as_i64().with_context(|| format!("{value} is no {datatype}"));
    let float = || value.as_f64().with_context(|| format!("{value} is no {datatype}"));
    let range = || format!("{value} is out of the range of {datatype}");
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a narrower float is what was asked for"
    )]
    match datatype {
        DataType::Bool => match value {
            Value::Bool(flag) => bytes.push(u8::from(*flag)),
            _ => bytes.push(u8::from(integer()? != 0)),
        },
        DataType::Uint8 => bytes.push(u8::try_from(integer()?).with_context(range)?),
        DataType::Uint16 => bytes.extend(u16::try_from(integer()?).with_context(range)?.to_le_bytes()),
        DataType::Uint32 => bytes.extend(u32::try_from(integer()?).with_context(range)?.to_le_bytes()),
        DataType::Uint64 => bytes.extend(value.as_u64().with_context(range)?.to_le_bytes()),
        DataType::Int8 => bytes.extend(i8::try_from(integer()?).with_context(range)?.to_le_bytes()),
        DataType::Int16 => bytes.extend(i16::try_from(integer()?).with_context(range)?.to_le_bytes()),
        DataType::Int32 => bytes.extend(i32::try_from(integer()?).with_context(range)?.to_le_bytes()),
        DataType::Int64 => bytes.extend(integer()?.to_le_bytes()),
        DataType::Fp16 => bytes.extend(f16::from_f64(float()?).to_le_bytes()),
        DataType::Bf16 => bytes.extend(bf16::from_f64(float()?).to_le_bytes()),
        DataType::Fp32 => bytes.extend((float()? as f32).to_le_bytes()),
        DataType::Fp64 => bytes.extend(float()?.to_le_bytes()),
        DataType::Bytes => match value {
            Value::String(text) => bytes.append(&mut wire_strings([text.as_bytes()])?),
            _ => bail!("{value} is no string"),
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_are_none_are_told() {
        for text in [
            "",
            "{}",
            r#"{"data": []}"#,
            r#"{"data": [{"A": 5}]}"#,
            r#"{"data": {"A": [1]}}"#,
        ] {
            assert!(parse_entries(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (datatype, text) in [
            (DataType::Uint8, "256"),
            (DataType::Int8, "-129"),
            (DataType::Uint64, "-1"),
            (DataType::Int64, "9223372036854775808"),
            (DataType::Int32, "1.5"),
            (DataType::Bytes, "1"),
            (DataType::Fp32, "\"a\""),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert!(append_value(datatype, &value, &mut Vec::new()).is_err(), "{datatype} {text}");
        }
    }
}
