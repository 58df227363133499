//! Tensors as the log keeps them and as it is exported: JSON.

use adulis_tensor::{DataType, elements_of};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record::{Captured, Content};
use crate::sql::hex;

/// A tensor in the log. Of its content one thing is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredTensor {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    /// Its data as in the binary tensor extension, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// `sha256:` and the digest of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redacted: Option<bool>,
    /// How many bytes were too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    omitted_bytes: Option<usize>,
}

impl From<&Captured> for StoredTensor {
    fn from(captured: &Captured) -> Self {
        let mut stored = Self {
            name: captured.name.to_string(),
            datatype: captured.datatype.as_str().to_owned(),
            shape: captured.shape.to_vec(),
            base64: None,
            digest: None,
            redacted: None,
            omitted_bytes: None,
        };
        match &captured.content {
            Content::Data(data) => stored.base64 = Some(STANDARD.encode(data)),
            Content::Digest(data) => stored.digest = Some(format!("sha256:{}", hex(&Sha256::digest(data)))),
            Content::Redacted => stored.redacted = Some(true),
            Content::Omitted(bytes) => stored.omitted_bytes = Some(*bytes),
        }
        stored
    }
}

/// A column of the log.
pub(crate) fn to_column(tensors: &[Captured]) -> String {
    let tensors: Vec<StoredTensor> = tensors.iter().map(StoredTensor::from).collect();
    serde_json::to_string(&tensors).expect("invariant: texts and numbers are always JSON")
}

/// A column of the log as it is exported: tensors of at most so many elements as the REST protocol writes them, where it can.
/// A column that is none is exported as it is.
pub(crate) fn exported(column: &str, max_elements: usize) -> String {
    let Ok(tensors) = serde_json::from_str::<Vec<StoredTensor>>(column) else {
        return column.to_owned();
    };
    let texts: Vec<String> = tensors.iter().map(|tensor| expanded(tensor, max_elements)).collect();
    format!("[{}]", texts.join(","))
}

fn expanded(tensor: &StoredTensor, max_elements: usize) -> String {
    match tensor.base64.as_deref().and_then(|data| in_json(tensor, data, max_elements)) {
        Some(data) => format!(
            r#"{{"name":{},"datatype":{},"shape":{},"data":{data}}}"#,
            json(&tensor.name),
            json(&tensor.datatype),
            json(&tensor.shape)
        ),
        None => json(tensor),
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("invariant: texts and numbers are always JSON")
}

/// The data as a list; `None` where JSON cannot hold it, or it is too long.
fn in_json(tensor: &StoredTensor, data: &str, max_elements: usize) -> Option<String> {
    let elements = tensor.shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent))?;
    let data = STANDARD.decode(data).ok().filter(|_| elements <= max_elements)?;
    match tensor.datatype.parse().ok()? {
        DataType::Bool => Some(json(&data.iter().map(|byte| *byte != 0).collect::<Vec<_>>())),
        DataType::Uint8 => Some(json(&data)),
        DataType::Uint16 => Some(numbers::<u16, 2>(&data, u16::from_le_bytes)),
        DataType::Uint32 => Some(numbers::<u32, 4>(&data, u32::from_le_bytes)),
        DataType::Uint64 => Some(numbers::<u64, 8>(&data, u64::from_le_bytes)),
        DataType::Int8 => Some(numbers::<i8, 1>(&data, i8::from_le_bytes)),
        DataType::Int16 => Some(numbers::<i16, 2>(&data, i16::from_le_bytes)),
        DataType::Int32 => Some(numbers::<i32, 4>(&data, i32::from_le_bytes)),
        DataType::Int64 => Some(numbers::<i64, 8>(&data, i64::from_le_bytes)),
        DataType::Fp32 => {
            let values = values::<f32, 4>(&data, f32::from_le_bytes);
            values.iter().all(|value| value.is_finite()).then(|| json(&values))
        }
        DataType::Fp64 => {
            let values = values::<f64, 8>(&data, f64::from_le_bytes);
            values.iter().all(|value| value.is_finite()).then(|| json(&values))
        }
        // The protocol has no form for these in JSON.
        DataType::Fp16 | DataType::Bf16 => None,
        DataType::Bytes => {
            let texts: Result<Vec<&str>, _> = elements_of(&data).map(std::str::from_utf8).collect();
            Some(json(&texts.ok()?))
        }
    }
}

fn values<T, const N: usize>(data: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}

fn numbers<T: Serialize, const N: usize>(data: &[u8], read: fn([u8; N]) -> T) -> String {
    json(&values(data, read))
}

#[cfg(test)]
mod tests {
    use adulis_tensor::{Shape, append_element};

    use super::*;

    fn captured(datatype: DataType, shape: &[usize], content: Content) -> Captured {
        Captured { name: "x\"".into(), datatype, shape: Shape::new(shape), content }
    }

    fn export(captured: Captured, max_elements: usize) -> String {
        exported(&to_column(&[captured]), max_elements)
    }

    #[test]
    fn small_tensors_are_written_as_the_protocol_does() {
        let floats: Vec<u8> = [0.1_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut texts = Vec::new();
        append_element(&mut texts, "é\"".as_bytes()).unwrap();
        for (datatype, shape, data, expected) in [
            (DataType::Fp32, &[1, 2][..], floats, "[0.1,-2.0]"),
            (DataType::Int16, &[1], vec![0xff, 0xff], "[-1]"),
            (DataType::Bool, &[2], vec![1, 0], "[true,false]"),
            (DataType::Uint8, &[], vec![9], "[9]"),
            (DataType::Bytes, &[1], texts, r#"["é\""]"#),
        ] {
            let text = export(captured(datatype, shape, Content::Data(data.into())), 10);
            let shape = serde_json::to_string(shape).unwrap();
            let expected =
                format!(r#"[{{"name":"x\"","datatype":"{datatype}","shape":{shape},"data":{expected}}}]"#);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn what_json_cannot_hold_stays_in_base64() {
        let infinite = f32::INFINITY.to_le_bytes().to_vec();
        let mut binary = Vec::new();
        append_element(&mut binary, &[0xff]).unwrap();
        for (datatype, data, max_elements) in [
            (DataType::Fp32, infinite, 10),
            (DataType::Fp16, vec![0, 0], 10),
            (DataType::Bytes, binary, 10),
            (DataType::Uint8, vec![1], 0),
        ] {
            let text = export(captured(datatype, &[1], Content::Data(data.into())), max_elements);
            assert!(text.contains(r#""base64":""#) && !text.contains("data\":["), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_told() {
        for (content, expected) in [
            (Content::Redacted, r#""redacted":true"#),
            (Content::Omitted(99), r#""omitted_bytes":99"#),
            (
                Content::Digest(bytes::Bytes::from_static(b"abc")),
                r#""digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#,
            ),
        ] {
            let text = export(captured(DataType::Uint8, &[3], content), 10);
            assert_eq!(text, format!(r#"[{{"name":"x\"","datatype":"UINT8","shape":[3],{expected}}}]"#));
        }
        assert_eq!(exported("not ours", 10), "not ours");
    }
}
