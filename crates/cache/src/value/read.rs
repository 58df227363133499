use std::time::Duration;

use adulis_tensor::{DataType, Shape, Tensor, TensorError};
use adulis_types::{Name, ParameterValue, Parameters};
use bytes::Bytes;

use super::{Answer, BODY_AT, CHECKED_AT, CHECKSUM_AT, LZ4, MAGIC, PLAIN, checksum};
use crate::Key;

/// More than any model has: what says more is damaged.
const MAX_OUTPUTS: u64 = 4096;
const MAX_RANK: u64 = 64;
const MAX_PARAMETERS: u64 = 4096;

/// Why bytes are not the answer of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Another program's, or another version's.
    #[error("it is not a cached answer of this version")]
    Form,
    /// Damaged, or another key's.
    #[error("its checksum is not that of its key and content")]
    Checksum,
    /// Longer than what is taken.
    #[error("it has {bytes} bytes unpacked; at most {limit} are taken")]
    TooLarge {
        /// Its length, unpacked.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// Compressed in a way that cannot be undone.
    #[error("it cannot be decompressed")]
    Compression,
    /// A count or length that does not fit what is there.
    #[error("its content is cut short, or is not what it says")]
    Content,
    /// An output that is none.
    #[error("output {index}: {error}")]
    Output {
        /// Its index.
        index: usize,
        /// What is wrong with it.
        error: TensorError,
    },
}

/// Reads an answer and when it was computed, since 1970. An answer that is not compressed shares the data of `value`.
///
/// # Errors
/// [`ValueError`] for whatever is not what [`super::encode`] wrote for this key, and for answers that take more than `limit`
/// bytes unpacked.
pub fn decode(key: &Key, value: &Bytes, limit: usize) -> Result<(Answer, Duration), ValueError> {
    if value.len() < BODY_AT || value[..MAGIC.len()] != MAGIC {
        return Err(ValueError::Form);
    }
    let packing = value[MAGIC.len()];
    if value[CHECKSUM_AT..CHECKED_AT] != checksum(key, packing, &value[CHECKED_AT..]) {
        return Err(ValueError::Checksum);
    }
    let computed = Duration::from_millis(word(&value[CHECKED_AT..]));
    let bytes = word(&value[CHECKED_AT + 8..]);
    let length = usize::try_from(bytes)
        .ok()
        .filter(|length| *length <= limit)
        .ok_or(ValueError::TooLarge { bytes, limit })?;
    let body = match packing {
        PLAIN if value.len() - BODY_AT == length => value.slice(BODY_AT..),
        PLAIN => return Err(ValueError::Content),
        LZ4 => unpacked(&value[BODY_AT..], length)?,
        _ => return Err(ValueError::Form),
    };
    Ok((answer(body)?, computed))
}

fn unpacked(packed: &[u8], length: usize) -> Result<Bytes, ValueError> {
    // LZ4 makes at most 255 bytes of one: what promises more would only have memory taken.
    if length / 255 > packed.len() {
        return Err(ValueError::Compression);
    }
    let mut body = vec![0; length];
    match lz4_flex::block::decompress_into(packed, &mut body) {
        Ok(written) if written == length => Ok(body.into()),
        _ => Err(ValueError::Compression),
    }
}

fn answer(body: Bytes) -> Result<Answer, ValueError> {
    let mut rest = Rest(body);
    let mut outputs = Vec::new();
    for index in 0..rest.count(MAX_OUTPUTS)? {
        outputs.push(rest.output(index)?);
    }
    let mut parameters = Parameters::default();
    for _ in 0..rest.count(MAX_PARAMETERS)? {
        let name = rest.text()?;
        parameters.set(name, rest.parameter()?);
    }
    if !rest.0.is_empty() {
        return Err(ValueError::Content);
    }
    Ok(Answer { outputs, parameters })
}

/// What is not read yet.
struct Rest(Bytes);

impl Rest {
    fn take(&mut self, length: usize) -> Result<Bytes, ValueError> {
        if length > self.0.len() {
            return Err(ValueError::Content);
        }
        Ok(self.0.split_to(length))
    }

    fn byte(&mut self) -> Result<u8, ValueError> {
        Ok(self.take(1)?[0])
    }

    /// LEB128, at most ten bytes.
    fn number(&mut self) -> Result<u64, ValueError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(ValueError::Content);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ValueError::Content)
    }

    fn count(&mut self, most: u64) -> Result<usize, ValueError> {
        let number = self.number()?;
        usize::try_from(number).ok().filter(|_| number <= most).ok_or(ValueError::Content)
    }

    fn bytes(&mut self) -> Result<Bytes, ValueError> {
        let length = usize::try_from(self.number()?).map_err(|_| ValueError::Content)?;
        self.take(length)
    }

    fn text(&mut self) -> Result<Name, ValueError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes).map(Name::from).map_err(|_| ValueError::Content)
    }

    fn output(&mut self, index: usize) -> Result<Tensor, ValueError> {
        let datatype: DataType = self.text()?.parse().map_err(|_| ValueError::Content)?;
        let dimension = |rest: &mut Self| usize::try_from(rest.number()?).map_err(|_| ValueError::Content);
        let rank = self.count(MAX_RANK)?;
        let shape = (0..rank).map(|_| dimension(self)).collect::<Result<Shape, _>>()?;
        let data = self.bytes()?;
        Tensor::new(datatype, shape, data).map_err(|error| ValueError::Output { index, error })
    }

    fn parameter(&mut self) -> Result<ParameterValue, ValueError> {
        Ok(match self.byte()? {
            0 => ParameterValue::Bool(self.byte()? != 0),
            1 => ParameterValue::Int64(word(&self.take(8)?).cast_signed()),
            2 => ParameterValue::Uint64(word(&self.take(8)?)),
            3 => ParameterValue::Double(f64::from_bits(word(&self.take(8)?))),
            4 => ParameterValue::String(self.text()?),
            _ => return Err(ValueError::Content),
        })
    }
}

/// The first eight bytes, of at least as many.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(word)
}
