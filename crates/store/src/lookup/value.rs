use std::str::FromStr;

use adulis_tensor::{DataType, Tensor, append_element};
use bytes::Bytes;
use half::{bf16, f16};
use serde_json::Value;

/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 1024;

/// The ids in a tensor, as text.
///
/// # Errors
/// What is wrong with them: their datatype, or their length.
pub fn ids_of(tensor: &Tensor) -> Result<Vec<Bytes>, String> {
    let data = tensor.data();
    match tensor.datatype() {
        DataType::Bytes => tensor.bytes_elements().map(text_id).collect(),
        DataType::Int64 => Ok(numbers::<8>(data, i64::from_le_bytes)),
        DataType::Int32 => Ok(numbers::<4>(data, |bytes| i32::from_le_bytes(bytes).into())),
        DataType::Int16 => Ok(numbers::<2>(data, |bytes| i16::from_le_bytes(bytes).into())),
        DataType::Int8 => Ok(numbers::<1>(data, |bytes| i8::from_le_bytes(bytes).into())),
        DataType::Uint32 => Ok(numbers::<4>(data, |bytes| u32::from_le_bytes(bytes).into())),
        DataType::Uint16 => Ok(numbers::<2>(data, |bytes| u16::from_le_bytes(bytes).into())),
        DataType::Uint8 => Ok(numbers::<1>(data, |bytes| u8::from_le_bytes(bytes).into())),
        other => Err(format!("{other} is no datatype of ids")),
    }
}

fn text_id(bytes: &[u8]) -> Result<Bytes, String> {
    if bytes.len() > MAX_ID_BYTES {
        return Err(format!("an id is longer than {MAX_ID_BYTES} bytes"));
    }
    Ok(Bytes::copy_from_slice(bytes))
}

fn numbers<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> i64) -> Vec<Bytes> {
    data.as_chunks::<N>().0.iter().map(|bytes| read(*bytes).to_string().into()).collect()
}

/// A default as configured, as a cell.
pub(crate) fn default_cell(value: &Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(text.clone().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(flag) => Some(if *flag { "1" } else { "0" }.into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Appends a cell as an element of a tensor; `None` where it is no value of the datatype.
pub fn append_cell(out: &mut Vec<u8>, datatype: DataType, cell: &[u8]) -> Option<()> {
    if datatype == DataType::Bytes {
        return append_element(out, cell).ok();
    }
    let text = std::str::from_utf8(cell).ok()?.trim();
    match datatype {
        DataType::Bool => out.push(u8::from(flag(text)?)),
        DataType::Fp64 => out.extend(number::<f64>(text)?.to_le_bytes()),
        DataType::Fp32 => out.extend(number::<f32>(text)?.to_le_bytes()),
        DataType::Fp16 => out.extend(f16::from_f64(number(text)?).to_le_bytes()),
        DataType::Bf16 => out.extend(bf16::from_f64(number(text)?).to_le_bytes()),
        DataType::Int64 => out.extend(number::<i64>(text)?.to_le_bytes()),
        DataType::Int32 => out.extend(number::<i32>(text)?.to_le_bytes()),
        DataType::Int16 => out.extend(number::<i16>(text)?.to_le_bytes()),
        DataType::Int8 => out.extend(number::<i8>(text)?.to_le_bytes()),
        DataType::Uint64 => out.extend(number::<u64>(text)?.to_le_bytes()),
        DataType::Uint32 => out.extend(number::<u32>(text)?.to_le_bytes()),
        DataType::Uint16 => out.extend(number::<u16>(text)?.to_le_bytes()),
        DataType::Uint8 => out.extend(number::<u8>(text)?.to_le_bytes()),
        DataType::Bytes => {}
    }
    Some(())
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "true" => Some(true),
        "0" | "f" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use adulis_tensor::Shape;

    use super::*;

    #[test]
    fn cells_take_the_form_of_their_input() {
        let append = |datatype, cell: &str| {
            let mut out = Vec::new();
            append_cell(&mut out, datatype, cell.as_bytes()).map(|()| out)
        };
        assert_eq!(append(DataType::Fp32, "0.1"), Some(0.1_f32.to_le_bytes().to_vec()));
        assert_eq!(append(DataType::Fp16, "1"), Some(vec![0, 0x3c]));
        assert_eq!((append(DataType::Bool, "true"), append(DataType::Bool, "7")), (Some(vec![1]), None));
        assert_eq!((append(DataType::Uint8, "255"), append(DataType::Uint8, "256")), (Some(vec![255]), None));
        assert_eq!(append(DataType::Bytes, "ab"), Some(vec![2, 0, 0, 0, b'a', b'b']));
        assert_eq!((append(DataType::Int32, "1.5"), append(DataType::Fp64, "")), (None, None));
    }

    #[test]
    fn ids_are_text() {
        let tensor = |datatype, count: usize, data: Vec<u8>| {
            Tensor::new(datatype, Shape::new(&[count]), data.into()).unwrap()
        };
        assert_eq!(ids_of(&tensor(DataType::Int16, 2, vec![0xff, 0xff, 3, 0])).unwrap(), ["-1", "3"]);
        let mut texts = Vec::new();
        append_element(&mut texts, b"c-7").unwrap();
        assert_eq!(ids_of(&tensor(DataType::Bytes, 1, texts)).unwrap(), ["c-7"]);
        let mut long = Vec::new();
        append_element(&mut long, &[b'x'; 1025]).unwrap();
        ids_of(&tensor(DataType::Bytes, 1, long)).unwrap_err();
        ids_of(&tensor(DataType::Fp32, 1, vec![0; 4])).unwrap_err();
    }
}
