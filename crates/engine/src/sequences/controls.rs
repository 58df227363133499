#[cfg(test)]
mod tests;

use std::sync::Arc;

use adulis_backend::BatchInput;
use adulis_repository::{ControlKind, FalseTrue};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::SequenceId;
use bytes::Bytes;

/// An input that tells the model where in its sequence each row stands.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    /// Its index in the signature.
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) kind: ControlKind,
    /// The shape that it has for one row.
    pub(crate) row: Shape,
}

/// What a row stands for: a request of a sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) start: bool,
    pub(crate) end: bool,
    pub(crate) id: &'a SequenceId,
}

impl Control {
    /// The input for these rows; `None` for those without a request.
    pub(crate) fn input(&self, rows: &[Option<Row<'_>>]) -> BatchInput {
        let mut data = Vec::with_capacity(rows.len() * self.kind.datatype().size_bytes().unwrap_or(16));
        for row in rows {
            match self.kind {
                ControlKind::Start(values) => push_flag(&mut data, values, row.is_some_and(|row| row.start)),
                ControlKind::Ready(values) => push_flag(&mut data, values, row.is_some()),
                ControlKind::End(values) => push_flag(&mut data, values, row.is_some_and(|row| row.end)),
                ControlKind::CorrelationId(datatype) => push_id(&mut data, datatype, row.map(|row| row.id)),
            }
        }
        // Where there is no batch dimension there is one row.
        let shape = if rows.len() == 1 { self.row.clone() } else { self.row.with_rows(rows.len()) };
        let datatype = self.kind.datatype();
        let part = Tensor::new(datatype, shape.clone(), Bytes::from(data))
            .expect("invariant: one element of the datatype per row");
        BatchInput {
            index: self.index,
            name: Arc::clone(&self.name),
            datatype,
            shape,
            parts: vec![part],
        }
    }
}

/// Whether the model can be told an id as this datatype.
pub(crate) fn can_tell(id: &SequenceId, datatype: DataType) -> bool {
    match (id, datatype) {
        (SequenceId::Number(number), DataType::Int32) => i32::try_from(*number).is_ok(),
        (SequenceId::Number(number), DataType::Uint32) => u32::try_from(*number).is_ok(),
        (SequenceId::Number(number), DataType::Int64) => i64::try_from(*number).is_ok(),
        (SequenceId::Number(_), _) => true,
        (SequenceId::Text(_), datatype) => datatype == DataType::Bytes,
    }
}

fn push_flag(data: &mut Vec<u8>, values: FalseTrue, flag: bool) {
    let flag = usize::from(flag);
    match values {
        FalseTrue::Int32(values) => data.extend_from_slice(&values[flag].to_le_bytes()),
        FalseTrue::Fp32(values) => data.extend_from_slice(&values[flag].to_le_bytes()),
        FalseTrue::Bool(values) => data.push(u8::from(values[flag])),
    }
}

/// Appends an id, or for a row without one zero or the empty text. The caller has asked [`can_tell`].
fn push_id(data: &mut Vec<u8>, datatype: DataType, id: Option<&SequenceId>) {
    match datatype.size_bytes() {
        Some(size) => {
            let number = match id {
                Some(SequenceId::Number(number)) => *number,
                _ => 0,
            };
            data.extend_from_slice(&number.to_le_bytes()[..size]);
        }
        None => {
            let text = match id {
                Some(SequenceId::Number(number)) => number.to_string(),
                Some(SequenceId::Text(text)) => text.to_string(),
                None => String::new(),
            };
            let length = u32::try_from(text.len()).expect("invariant: an id has at most 128 bytes");
            data.extend_from_slice(&length.to_le_bytes());
            data.extend_from_slice(text.as_bytes());
        }
    }
}
