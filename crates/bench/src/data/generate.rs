use adulis_tensor::DataType;
use anyhow::Context;
use bytes::Bytes;
use half::{bf16, f16};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

use super::layout::Layout;
use super::wire_strings;

/// What generated tensors hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fill {
    /// Zeros, `false` and empty strings.
    Zeros,
    /// Floats in [0, 1), integers over their whole range, letters.
    Random { string_length: usize },
}

/// The bytes of one tensor.
pub(super) fn fill(layout: &Layout, how: Fill, random: &mut SmallRng) -> anyhow::Result<Bytes> {
    let too_large = || format!("input `{}`: shape {} is too large", layout.name, layout.shape);
    let count = layout.shape.elements().with_context(too_large)?;
    let Some(size) = layout.datatype.size_bytes() else {
        return strings(count, how, random).map(Bytes::from);
    };
    let mut bytes = vec![0; count.checked_mul(size).with_context(too_large)?];
    if matches!(how, Fill::Random { .. }) {
        match layout.datatype {
            DataType::Bool => bytes.fill_with(|| u8::from(random.random::<bool>())),
            DataType::Fp16 => each(&mut bytes, || f16::from_f32(random.random()).to_le_bytes()),
            DataType::Bf16 => each(&mut bytes, || bf16::from_f32(random.random()).to_le_bytes()),
            DataType::Fp32 => each(&mut bytes, || random.random::<f32>().to_le_bytes()),
            DataType::Fp64 => each(&mut bytes, || random.random::<f64>().to_le_bytes()),
            // Any bytes are an integer.
            _ => random.fill_bytes(&mut bytes),
        }
    }
    Ok(bytes.into())
}

fn each<const N: usize>(bytes: &mut [u8], mut value: impl FnMut() -> [u8; N]) {
    for place in bytes.as_chunks_mut().0 {
        *place = value();
    }
}

fn strings(count: usize, how: Fill, random: &mut SmallRng) -> anyhow::Result<Vec<u8>> {
    let length = match how {
        Fill::Zeros => 0,
        Fill::Random { string_length } => string_length,
    };
    let mut string = vec![0_u8; length];
    let mut bytes = Vec::new();
    for _ in 0..count {
        string.fill_with(|| random.random_range(b'a'..=b'z'));
        bytes.append(&mut wire_strings([&string[..]])?);
    }
    Ok(bytes)
}
