use adulis_tensor::DataType;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::rest::element::{Element, ElementFault, Text};
use crate::rest::scanner::Scanner;

/// The key of an object that stands for bytes: `{"b64": "…"}`.
pub(super) const B64: &str = "b64";

/// Base64 as RFC 4648 has it, padded or not.
pub(super) const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An element of a BYTES tensor: a string, or an object with one in base64.
pub(super) struct Blob;

impl Element for Blob {
    const DATATYPE: DataType = DataType::Bytes;
    const EXPECTED: &'static str = r#"a string or {"b64": "…"}"#;
    const LEAST_BYTES: usize = Text::LEAST_BYTES;

    fn read(scanner: &mut Scanner<'_>, first: Option<u8>, out: &mut Vec<u8>) -> Result<(), ElementFault> {
        if first != Some(b'{') {
            return Text::read(scanner, first, out);
        }
        let mut found = None;
        scanner.object(|scanner, key| {
            let value = if key == B64 { scanner.peek() } else { None };
            if found.is_some() || value != Some(b'"') {
                found = Some(false);
                return scanner.skip_value();
            }
            let text = scanner.string()?;
            found = Some(decode(&text, out));
            Ok(())
        })?;
        if found == Some(true) { Ok(()) } else { Err(ElementFault::Value) }
    }
}

/// Appends the bytes that base64 text stands for, behind their length; says whether it is such text.
fn decode(text: &str, out: &mut Vec<u8>) -> bool {
    let prefix = out.len();
    out.extend_from_slice(&[0; size_of::<u32>()]);
    let start = out.len();
    let Ok(()) = ENGINE.decode_vec(text, out) else {
        return false;
    };
    let Ok(length) = u32::try_from(out.len() - start) else {
        return false;
    };
    out[prefix..start].copy_from_slice(&length.to_le_bytes());
    true
}
