use adulis_types::{InferResponse, Name, OutputTensor};
use bytes::Bytes;

use super::cells::{Cells, is_mostly_lists};
use super::request::PredictFormat;
use crate::EncodeError;
use crate::rest::NonFinite;
use crate::rest::encode::{capacity, refusal};
use crate::rest::writer;

/// Encodes a response: the data of a single output bare, of several as objects with the outputs' names.
///
/// # Errors
/// [`EncodeError`] where an output has no form in JSON (FP16 and BF16), and in the row format where an output has not one row
/// for each of the others.
pub fn encode_predict(
    response: &InferResponse,
    format: PredictFormat,
    non_finite: NonFinite,
) -> Result<Bytes, EncodeError> {
    let outputs = &response.outputs;
    if let Some(output) = outputs.iter().find(|output| is_mostly_lists(&output.tensor)) {
        return Err(EncodeError::EmptyLists {
            model: Name::from(&*response.model_name),
            output: Name::from(&*output.name),
            shape: output.tensor.shape().clone(),
        });
    }
    let mut out = Vec::with_capacity(capacity(outputs.iter().map(|output| (&output.tensor, false))));
    match format {
        PredictFormat::Rows => {
            let rows = rows(response)?;
            writer::key(&mut out, "{", "predictions");
            write_rows(&mut out, response, (rows, non_finite))?;
        }
        PredictFormat::Columns => {
            writer::key(&mut out, "{", "outputs");
            write_columns(&mut out, response, non_finite)?;
        }
    }
    out.push(b'}');
    Ok(out.into())
}

/// The number of rows, which all outputs have.
fn rows(response: &InferResponse) -> Result<usize, EncodeError> {
    let mut outputs = response.outputs.iter();
    let rows = outputs.clone().find_map(|output| output.tensor.shape().rows()).unwrap_or(0);
    match outputs.find(|output| output.tensor.shape().rows() != Some(rows)) {
        None => Ok(rows),
        Some(output) => Err(EncodeError::Rows {
            model: Name::from(&*response.model_name),
            output: Name::from(&*output.name),
            shape: output.tensor.shape().clone(),
            rows,
        }),
    }
}

fn write_rows(
    out: &mut Vec<u8>,
    response: &InferResponse,
    (rows, non_finite): (usize, NonFinite),
) -> Result<(), EncodeError> {
    if let [output] = &response.outputs[..] {
        return write_whole(out, response, output, non_finite);
    }
    let cells = response.outputs.iter().map(|output| Cells::new(&output.name, &output.tensor, non_finite));
    let mut cells: Vec<Cells<'_>> = cells.collect();
    for row in 0..rows {
        out.push(if row == 0 { b'[' } else { b',' });
        for (index, (output, cells)) in response.outputs.iter().zip(&mut cells).enumerate() {
            name(out, index, output);
            cells
                .write(out, output.tensor.shape().row_dimensions())
                .map_err(|why| refusal(&response.model_name, output, &why))?;
        }
        out.push(b'}');
    }
    out.extend_from_slice(if rows == 0 { b"[]" } else { b"]" });
    Ok(())
}

fn write_columns(
    out: &mut Vec<u8>,
    response: &InferResponse,
    non_finite: NonFinite,
) -> Result<(), EncodeError> {
    match &response.outputs[..] {
        [output] => write_whole(out, response, output, non_finite),
        [] => {
            out.extend_from_slice(b"{}");
            Ok(())
        }
        outputs => {
            for (index, output) in outputs.iter().enumerate() {
                name(out, index, output);
                write_whole(out, response, output, non_finite)?;
            }
            out.push(b'}');
            Ok(())
        }
    }
}

fn name(out: &mut Vec<u8>, index: usize, output: &OutputTensor) {
    out.push(if index == 0 { b'{' } else { b',' });
    writer::string(out, &output.name);
    out.push(b':');
}

fn write_whole(
    out: &mut Vec<u8>,
    response: &InferResponse,
    output: &OutputTensor,
    non_finite: NonFinite,
) -> Result<(), EncodeError> {
    Cells::new(&output.name, &output.tensor, non_finite)
        .write(out, output.tensor.shape())
        .map_err(|why| refusal(&response.model_name, output, &why))
}
