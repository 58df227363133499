use std::ops::Range;

use bytes::Bytes;

use crate::elements::{BytesElements, elements_of, scan_elements};
use crate::{DataType, Shape};

/// Why bytes, datatype and shape do not make a tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The element count or byte length does not fit the machine.
    #[error("shape {shape} has more elements than can be addressed")]
    ShapeOverflow {
        /// The shape.
        shape: Shape,
    },
    /// The data has another length than the shape says.
    #[error("expected {expected} bytes for {datatype} {shape}, got {actual}")]
    ByteLength {
        /// The datatype.
        datatype: DataType,
        /// The shape.
        shape: Shape,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// A length prefix or element of a `BYTES` tensor reaches past the end of the data.
    #[error(
        "BYTES element {index} of {count} is cut short: its length prefix or its bytes reach past the end"
    )]
    TruncatedElement {
        /// Index of the element.
        index: usize,
        /// Elements that the shape needs.
        count: usize,
    },
    /// Data is left after the last element of a `BYTES` tensor.
    #[error("{extra} bytes are left over after {count} BYTES elements")]
    TrailingBytes {
        /// Bytes left over.
        extra: usize,
        /// Elements that the shape needs.
        count: usize,
    },
    /// One element of a `BYTES` tensor is longer than 4 GiB.
    #[error("a BYTES element of {bytes} bytes is longer than its 32-bit length prefix can say")]
    ElementTooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Typed, shaped, shared data. Always valid; clones and row slices share the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    datatype: DataType,
    shape: Shape,
    data: Bytes,
}

impl Tensor {
    /// A tensor over `data`, row-major and little-endian; `BYTES` data is in wire form. Copies nothing.
    ///
    /// Cost: constant for fixed-size datatypes; one pass over the length prefixes for `BYTES`.
    ///
    /// # Errors
    /// [`TensorError`] if the length of `data` is not what datatype and shape say.
    pub fn new(datatype: DataType, shape: Shape, data: Bytes) -> Result<Self, TensorError> {
        Self::check_length(datatype, &shape, data.len())?;
        if datatype == DataType::Bytes {
            let count = element_count(&shape)?;
            let used = scan_elements(&data, count)?;
            if used != data.len() {
                return Err(TensorError::TrailingBytes { extra: data.len() - used, count });
            }
        }
        Ok(Self { datatype, shape, data })
    }

    /// Checks that data of `actual` bytes can be that of datatype and shape; for `BYTES`, whose elements say how long it is,
    /// any length can.
    ///
    /// # Errors
    /// [`TensorError::ByteLength`], and [`TensorError::ShapeOverflow`].
    pub fn check_length(datatype: DataType, shape: &Shape, actual: usize) -> Result<(), TensorError> {
        let count = element_count(shape)?;
        let Some(size) = datatype.size_bytes() else {
            return Ok(());
        };
        match count.checked_mul(size) {
            None => Err(TensorError::ShapeOverflow { shape: shape.clone() }),
            Some(expected) if expected != actual => {
                Err(TensorError::ByteLength { datatype, shape: shape.clone(), expected, actual })
            }
            Some(_) => Ok(()),
        }
    }

    /// The datatype.
    #[must_use]
    pub fn datatype(&self) -> DataType {
        self.datatype
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The data; little-endian, row-major, `BYTES` in wire form.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The data without its meaning.
    #[must_use]
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.elements().expect("invariant: checked when the tensor was made")
    }

    /// The elements of a `BYTES` tensor; for other datatypes there are none.
    #[must_use]
    pub fn bytes_elements(&self) -> BytesElements<'_> {
        match self.datatype {
            DataType::Bytes => elements_of(&self.data),
            _ => elements_of(&[]),
        }
    }

    /// The same data in another shape; `None` where that has another number of elements.
    #[must_use]
    pub fn reshaped(self, shape: Shape) -> Option<Self> {
        (shape.elements() == self.shape.elements()).then_some(Self { shape, ..self })
    }

    /// The same with its data in an allocation of its own, exactly as large as it is: it keeps nothing else in memory. One copy.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { data: Bytes::copy_from_slice(&self.data), shape: self.shape.clone(), ..*self }
    }

    /// Rows `range` of the leading dimension, sharing the data.
    ///
    /// Shapes: `[b, d_1, …]` gives `[range.len(), d_1, …]`. Cost: constant; for `BYTES` one pass over the
    /// prefixes before and in the range.
    ///
    /// Returns `None` for rank 0 or a range that is not within the leading dimension.
    #[must_use]
    pub fn rows(&self, range: Range<usize>) -> Option<Self> {
        let rows = self.shape.rows()?;
        if range.start > range.end || range.end > rows {
            return None;
        }
        let per_row = self.elements().checked_div(rows).unwrap_or(0);
        let bytes = match self.datatype.size_bytes() {
            Some(size) => range.start * per_row * size..range.end * per_row * size,
            None => {
                let start = scan_elements(&self.data, range.start * per_row).ok()?;
                let length = scan_elements(&self.data[start..], range.len() * per_row).ok()?;
                start..start + length
            }
        };
        Some(Self {
            datatype: self.datatype,
            shape: self.shape.with_rows(range.len()),
            data: self.data.slice(bytes),
        })
    }

    /// Cuts the leading dimension into consecutive parts of `rows` rows each, sharing the data. One pass.
    ///
    /// Returns `None` for rank 0 or where the parts do not add up to the leading dimension.
    #[must_use]
    pub fn split_rows(&self, rows: impl IntoIterator<Item = usize>) -> Option<Vec<Self>> {
        let total = self.shape.rows()?;
        let per_row = self.elements().checked_div(total).unwrap_or(0);
        let (mut taken, mut rest, mut parts) = (0_usize, self.data.clone(), Vec::new());
        for part in rows {
            taken = taken.checked_add(part).filter(|&taken| taken <= total)?;
            let length = match self.datatype.size_bytes() {
                Some(size) => part * per_row * size,
                None => scan_elements(&rest, part * per_row).ok()?,
            };
            let data = rest.split_to(length);
            parts.push(Self { datatype: self.datatype, shape: self.shape.with_rows(part), data });
        }
        (taken == total).then_some(parts)
    }
}

fn element_count(shape: &Shape) -> Result<usize, TensorError> {
    shape.elements().ok_or_else(|| TensorError::ShapeOverflow { shape: shape.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append_element;

    fn strings(values: &[&str]) -> Bytes {
        let mut data = Vec::new();
        for value in values {
            append_element(&mut data, value.as_bytes()).unwrap();
        }
        data.into()
    }

    #[test]
    fn length_must_fit_shape_and_datatype() {
        let short = Tensor::new(DataType::Fp32, Shape::from([2, 3]), Bytes::from_static(&[0; 23]));
        assert_eq!(short.unwrap_err().to_string(), "expected 24 bytes for FP32 [2,3], got 23");
        let huge = Tensor::new(DataType::Fp64, Shape::from([usize::MAX / 4]), Bytes::new());
        assert!(matches!(huge, Err(TensorError::ShapeOverflow { .. })));
    }

    #[test]
    fn bytes_tensors_are_scanned_whole() {
        assert!(Tensor::new(DataType::Bytes, Shape::from([2]), strings(&["a", "b"])).is_ok());
        let extra = Tensor::new(DataType::Bytes, Shape::from([1]), strings(&["a", "b"]));
        assert_eq!(extra, Err(TensorError::TrailingBytes { extra: 5, count: 1 }));
        let missing = Tensor::new(DataType::Bytes, Shape::from([3]), strings(&["a", "b"]));
        assert_eq!(missing, Err(TensorError::TruncatedElement { index: 2, count: 3 }));
    }

    #[test]
    fn another_shape_has_as_many_elements() {
        let tensor = Tensor::new(DataType::Bytes, Shape::from([2]), strings(&["a", "b"])).unwrap();
        let reshaped = tensor.clone().reshaped(Shape::from([1, 2])).unwrap();
        assert_eq!(reshaped.shape(), &Shape::from([1, 2]));
        assert_eq!(reshaped.data().as_ptr(), tensor.data().as_ptr(), "nothing is copied");
        assert_eq!(tensor.clone().reshaped(Shape::from([3])), None);
        assert_eq!(tensor.reshaped(Shape::from([usize::MAX, 2])), None);
    }

    #[test]
    fn rows_share_the_data() {
        let tensor =
            Tensor::new(DataType::Uint8, Shape::from([3, 2]), Bytes::from_static(&[0, 1, 2, 3, 4, 5]))
                .unwrap();
        let middle = tensor.rows(1..2).unwrap();
        assert_eq!((middle.shape(), &middle.data()[..]), (&Shape::from([1, 2]), &[2, 3][..]));
        assert_eq!(middle.data().as_ptr(), tensor.data()[2..].as_ptr());
        assert!(tensor.rows(2..4).is_none());
        let text = Tensor::new(DataType::Bytes, Shape::from([3, 1]), strings(&["a", "", "ccc"])).unwrap();
        assert_eq!(text.rows(1..3).unwrap().data(), &strings(&["", "ccc"]));
    }

    #[test]
    fn what_is_detached_shares_nothing() {
        let whole =
            Tensor::new(DataType::Uint8, Shape::from([4]), Bytes::from_static(&[0, 1, 2, 3])).unwrap();
        let row = whole.rows(1..2).unwrap();
        let detached = row.detached();
        assert_eq!(detached, row);
        assert_ne!(detached.data().as_ptr(), row.data().as_ptr());
    }

    #[test]
    fn split_adds_up_or_is_refused() {
        let tensor = Tensor::new(DataType::Bytes, Shape::from([3]), strings(&["a", "bb", "ccc"])).unwrap();
        let parts = tensor.split_rows([1, 2]).unwrap();
        assert_eq!(parts[1].data(), &strings(&["bb", "ccc"]));
        assert!(tensor.split_rows([1, 1]).is_none());
        assert!(tensor.split_rows([1, 3]).is_none());
    }

    #[test]
    fn no_rows_of_a_huge_row_do_not_overflow() {
        let none =
            Tensor::new(DataType::Fp32, Shape::from([0, usize::MAX, usize::MAX]), Bytes::new()).unwrap();
        assert_eq!(none.rows(0..0).unwrap(), none);
        assert_eq!(none.split_rows([0, 0]).unwrap().len(), 2);
    }
}
