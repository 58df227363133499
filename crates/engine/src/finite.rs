//! Answers that are no numbers.

use adulis_tensor::{DataType, Tensor};

use crate::EngineError;
use crate::job::Answer;
use crate::serving::Served;

/// Elements that are looked at together, so that the compiler can do so in vectors.
const BLOCK: usize = 64;

impl Served {
    /// The answer, unless the model refuses those that have a NaN or an infinity in them and this one has. Costs nothing
    /// where it does not.
    pub(crate) fn checked(&self, answer: Answer) -> Result<Answer, EngineError> {
        if self.config.safeguards.refuse_non_finite_outputs {
            self.check_finite(&answer.outputs)?;
        }
        Ok(answer)
    }

    /// Refuses outputs that have a NaN or an infinity in them, if the model does. They are all of one answer, in the
    /// signature's order.
    pub(crate) fn check_finite(&self, outputs: &[Tensor]) -> Result<(), EngineError> {
        if !self.config.safeguards.refuse_non_finite_outputs {
            return Ok(());
        }
        for (output, spec) in outputs.iter().zip(&self.interface.outputs) {
            if let Some(index) = first_non_finite(output) {
                self.metrics().non_finite_outputs.inc();
                let (model, output) = (self.interface.model.clone(), spec.name.clone());
                return Err(EngineError::NonFiniteOutput { model, output, index });
            }
        }
        Ok(())
    }
}

/// The index of the first element that is a NaN or an infinity, row-major. Others than floating-point tensors have none.
fn first_non_finite(tensor: &Tensor) -> Option<usize> {
    // All bits of the exponent set: IEEE 754, and BF16 as the upper half of an FP32.
    match tensor.datatype() {
        DataType::Fp64 => first(tensor.data(), |bytes| {
            const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
            u64::from_le_bytes(bytes) & EXPONENT == EXPONENT
        }),
        DataType::Fp32 => first(tensor.data(), |bytes| {
            const EXPONENT: u32 = 0x7f80_0000;
            u32::from_le_bytes(bytes) & EXPONENT == EXPONENT
        }),
        DataType::Fp16 => first(tensor.data(), |bytes| {
            const EXPONENT: u16 = 0x7c00;
            u16::from_le_bytes(bytes) & EXPONENT == EXPONENT
        }),
        DataType::Bf16 => first(tensor.data(), |bytes| {
            const EXPONENT: u16 = 0x7f80;
            u16::from_le_bytes(bytes) & EXPONENT == EXPONENT
        }),
        _ => None,
    }
}

fn first<const SIZE: usize>(data: &[u8], is_hit: impl Fn([u8; SIZE]) -> bool) -> Option<usize> {
    let (elements, _) = data.as_chunks::<SIZE>();
    let blocks = elements.chunks(BLOCK).enumerate();
    // Without a way out in its middle, a block is one vector operation after the other.
    let hit = |block: &[[u8; SIZE]]| block.iter().fold(false, |hit, element| hit | is_hit(*element));
    let (number, block) = blocks.into_iter().find(|(_, block)| hit(block))?;
    let within = block.iter().position(|element| is_hit(*element))?;
    Some(number * BLOCK + within)
}

#[cfg(test)]
mod tests {
    use adulis_tensor::Shape;
    use bytes::Bytes;

    use super::*;

    fn tensor(datatype: DataType, elements: usize, data: Vec<u8>) -> Tensor {
        Tensor::new(datatype, Shape::from([1, elements]), Bytes::from(data)).unwrap()
    }

    fn of_f32(values: &[f32]) -> Option<usize> {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        first_non_finite(&tensor(DataType::Fp32, values.len(), data))
    }

    #[test]
    fn the_first_is_found_wherever_it_is() {
        assert_eq!(of_f32(&[0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE / 2.0]), None);
        assert_eq!(of_f32(&[]), None);
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in [0, 1, 63, 64, 65, 200] {
                let mut values = vec![1.5; 201];
                values[200] = f32::NAN;
                values[index] = bad;
                assert_eq!(of_f32(&values), Some(index));
            }
        }
    }

    #[test]
    fn every_floating_point_datatype_is_looked_at_and_no_other() {
        let nan = f64::NAN.to_le_bytes().to_vec();
        assert_eq!(first_non_finite(&tensor(DataType::Fp64, 1, nan.clone())), Some(0));
        assert_eq!(first_non_finite(&tensor(DataType::Fp64, 1, f64::MAX.to_le_bytes().to_vec())), None);
        assert_eq!(first_non_finite(&tensor(DataType::Int64, 1, nan)), None);
        // The largest number and infinity, of FP16 and of BF16.
        for (datatype, finite, infinite) in [
            (DataType::Fp16, 0x7bff_u16, 0x7c00_u16),
            (DataType::Bf16, 0x7f7f, 0x7f80),
        ] {
            let data = [finite, infinite].iter().flat_map(|bits| bits.to_le_bytes()).collect();
            assert_eq!(first_non_finite(&tensor(datatype, 2, data)), Some(1), "{datatype}");
            assert_eq!(first_non_finite(&tensor(datatype, 1, finite.to_le_bytes().to_vec())), None);
        }
    }
}
