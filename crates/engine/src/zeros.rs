//! Tensors that say nothing: for rows that nobody sent, for first states, for warm-up.

use adulis_tensor::{AlignedBuffer, DataType, Shape, Tensor};
use bytes::Bytes;

/// Bytes of zeros, or of empty strings. None where there are more than can be addressed.
pub(crate) fn byte_length(datatype: DataType, shape: &Shape) -> Option<usize> {
    // An empty string is its four-byte length prefix, all zero.
    let element = datatype.size_bytes().unwrap_or(size_of::<u32>());
    shape.elements()?.checked_mul(element)
}

/// Zeros, or empty strings. None where there are more than can be addressed.
pub(crate) fn zeros(datatype: DataType, shape: Shape) -> Option<Tensor> {
    let data = AlignedBuffer::zeroed(byte_length(datatype, &shape)?);
    Tensor::new(datatype, shape, Bytes::from_owner(data)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datatype_has_zeros() {
        let shape = Shape::from([2, 3]);
        for (datatype, bytes) in [(DataType::Bool, 6), (DataType::Fp64, 48), (DataType::Bytes, 24)] {
            let tensor = zeros(datatype, shape.clone()).unwrap();
            assert_eq!((tensor.datatype(), tensor.shape()), (datatype, &shape));
            assert_eq!(tensor.data()[..], vec![0; bytes]);
        }
        assert!(zeros(DataType::Bytes, shape).unwrap().bytes_elements().all(<[u8]>::is_empty));
    }

    #[test]
    fn what_cannot_be_addressed_is_not_made() {
        assert_eq!(zeros(DataType::Fp32, Shape::from([usize::MAX / 2])), None);
    }
}
