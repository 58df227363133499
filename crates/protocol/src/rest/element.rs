use adulis_tensor::DataType;

use crate::Problem;
use crate::rest::scanner::Scanner;
use crate::rest::writer::{INFINITY, MINUS_INFINITY, NAN};

/// Why one element could not be read.
pub(super) enum ElementFault {
    /// It is not JSON.
    Json(Box<Problem>),
    /// It is JSON, but no value of the datatype.
    Value,
}

impl From<Box<Problem>> for ElementFault {
    fn from(problem: Box<Problem>) -> Self {
        Self::Json(problem)
    }
}

/// One element of tensor data in JSON.
pub(super) trait Element {
    /// The datatype.
    const DATATYPE: DataType;

    /// What the datatype takes, for messages.
    const EXPECTED: &'static str;

    /// The least bytes that one element can take in the tensor.
    const LEAST_BYTES: usize;

    /// Reads one element, which [`Scanner::peek`] has shown to begin with `first`, and appends it in wire form.
    fn read(scanner: &mut Scanner<'_>, first: Option<u8>, out: &mut Vec<u8>) -> Result<(), ElementFault>;
}

macro_rules! integer {
    ($type:ty, $datatype:ident, $expected:literal) => {
        impl Element for $type {
            const DATATYPE: DataType = DataType::$datatype;
            const EXPECTED: &'static str = $expected;
            const LEAST_BYTES: usize = size_of::<$type>();

            #[inline]
            fn read(
                scanner: &mut Scanner<'_>,
                first: Option<u8>,
                out: &mut Vec<u8>,
            ) -> Result<(), ElementFault> {
                let Some(b'-' | b'0'..=b'9') = first else {
                    return Err(ElementFault::Value);
                };
                let integer = scanner.number()?.integer();
                let value = integer.and_then(|integer| <$type>::try_from(integer).ok());
                out.extend_from_slice(&value.ok_or(ElementFault::Value)?.to_le_bytes());
                Ok(())
            }
        }
    };
}

integer!(u8, Uint8, "a whole number from 0 to 255");
integer!(u16, Uint16, "a whole number from 0 to 65535");
integer!(u32, Uint32, "a whole number from 0 to 4294967295");
integer!(u64, Uint64, "a whole number from 0 to 18446744073709551615");
integer!(i8, Int8, "a whole number from -128 to 127");
integer!(i16, Int16, "a whole number from -32768 to 32767");
integer!(i32, Int32, "a whole number from -2147483648 to 2147483647");
integer!(i64, Int64, "a whole number from -9223372036854775808 to 9223372036854775807");

macro_rules! float {
    ($type:ty, $datatype:ident, $convert:ident, $expected:literal) => {
        impl Element for $type {
            const DATATYPE: DataType = DataType::$datatype;
            const EXPECTED: &'static str = $expected;
            const LEAST_BYTES: usize = size_of::<$type>();

            #[inline]
            fn read(
                scanner: &mut Scanner<'_>,
                first: Option<u8>,
                out: &mut Vec<u8>,
            ) -> Result<(), ElementFault> {
                let Some(b'-' | b'0'..=b'9') = first else {
                    let value = <$type>::from(special(scanner, first)?);
                    out.extend_from_slice(&value.to_le_bytes());
                    return Ok(());
                };
                let start = scanner.offset();
                let value = match scanner.number() {
                    Ok(number) => number.$convert(),
                    Err(problem) if scanner.offset() > start + 1 => return Err(problem.into()),
                    // The minus sign is taken, and a word stands behind it.
                    Err(_) if scanner.literal(INFINITY.as_bytes()) => {
                        out.extend_from_slice(&<$type>::NEG_INFINITY.to_le_bytes());
                        return Ok(());
                    }
                    Err(_) if scanner.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) => {
                        return Err(ElementFault::Value);
                    }
                    Err(problem) => return Err(problem.into()),
                };
                if !value.is_finite() {
                    return Err(ElementFault::Value);
                }
                out.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }
        }
    };
}

float!(f32, Fp32, to_f32, "a number up to 3.4e38, NaN, Infinity or -Infinity");
float!(f64, Fp64, to_f64, "a number up to 1.8e308, NaN, Infinity or -Infinity");

/// NaN or an infinity that begins with `first`: a string, or a bare word, which is no JSON and what many clients write.
#[cold]
fn special(scanner: &mut Scanner<'_>, first: Option<u8>) -> Result<f32, ElementFault> {
    if first == Some(b'"') {
        return match &*scanner.string()? {
            NAN => Ok(f32::NAN),
            INFINITY => Ok(f32::INFINITY),
            MINUS_INFINITY => Ok(f32::NEG_INFINITY),
            _ => Err(ElementFault::Value),
        };
    }
    if scanner.literal(NAN.as_bytes()) {
        Ok(f32::NAN)
    } else if scanner.literal(INFINITY.as_bytes()) {
        Ok(f32::INFINITY)
    } else {
        Err(ElementFault::Value)
    }
}

impl Element for bool {
    const DATATYPE: DataType = DataType::Bool;
    const EXPECTED: &'static str = "true or false";
    const LEAST_BYTES: usize = 1;

    #[inline]
    fn read(scanner: &mut Scanner<'_>, _: Option<u8>, out: &mut Vec<u8>) -> Result<(), ElementFault> {
        out.push(u8::from(scanner.flag().ok_or(ElementFault::Value)?));
        Ok(())
    }
}

/// An element of a BYTES tensor: a string's UTF-8 bytes behind their length.
pub(super) struct Text;

impl Element for Text {
    const DATATYPE: DataType = DataType::Bytes;
    const EXPECTED: &'static str = "a string of less than 4 GiB";
    const LEAST_BYTES: usize = size_of::<u32>();

    fn read(scanner: &mut Scanner<'_>, first: Option<u8>, out: &mut Vec<u8>) -> Result<(), ElementFault> {
        if first != Some(b'"') {
            return Err(ElementFault::Value);
        }
        let prefix = out.len();
        out.extend_from_slice(&[0; size_of::<u32>()]);
        let start = out.len();
        scanner.string_into(out)?;
        let length = u32::try_from(out.len() - start).map_err(|_| ElementFault::Value)?;
        out[prefix..start].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}
