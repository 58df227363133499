//! The wire form of `BYTES` tensors: each element is a 4-byte little-endian length and its bytes.
//!
//! Source: Open Inference Protocol, binary tensor data extension.

use crate::TensorError;

const PREFIX_BYTES: usize = 4;

/// Appends one element in wire form.
///
/// # Errors
/// [`TensorError::ElementTooLong`] where its length does not fit 32 bits.
pub fn append_element(out: &mut Vec<u8>, element: &[u8]) -> Result<(), TensorError> {
    let length =
        u32::try_from(element.len()).map_err(|_| TensorError::ElementTooLong { bytes: element.len() })?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(element);
    Ok(())
}

/// The length in bytes of the first `count` elements of `data`.
///
/// # Errors
/// [`TensorError::TruncatedElement`] where a prefix or an element reaches past the end of `data`.
pub fn scan_elements(data: &[u8], count: usize) -> Result<usize, TensorError> {
    let mut elements = BytesElements { rest: data };
    for index in 0..count {
        elements.step().ok_or(TensorError::TruncatedElement { index, count })?;
    }
    Ok(data.len() - elements.rest.len())
}

/// The elements of wire-form `data`; stops at the first one that is cut short.
#[must_use]
pub fn elements_of(data: &[u8]) -> BytesElements<'_> {
    BytesElements { rest: data }
}

/// Iterator over the elements of a `BYTES` tensor.
#[derive(Debug, Clone)]
pub struct BytesElements<'a> {
    rest: &'a [u8],
}

impl<'a> BytesElements<'a> {
    fn step(&mut self) -> Option<&'a [u8]> {
        let (prefix, rest) = self.rest.split_first_chunk::<PREFIX_BYTES>()?;
        let length = usize::try_from(u32::from_le_bytes(*prefix)).ok()?;
        let (element, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(element)
    }
}

impl<'a> Iterator for BytesElements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.step()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_round_trip() {
        let mut data = Vec::new();
        for element in [&b"one"[..], b"", b"\x00\xff"] {
            append_element(&mut data, element).unwrap();
        }
        assert_eq!(elements_of(&data).collect::<Vec<_>>(), [&b"one"[..], b"", b"\x00\xff"]);
        assert_eq!(scan_elements(&data, 2), Ok(11));
        assert_eq!(scan_elements(&data[..6], 1), Err(TensorError::TruncatedElement { index: 0, count: 1 }));
        assert_eq!(
            scan_elements(&[0xff, 0xff, 0xff, 0xff, 0], 1),
            Err(TensorError::TruncatedElement { index: 0, count: 1 })
        );
    }
}
