//! The classification extension: the highest values of an output, with their indices and labels, in place of the tensor.

use std::cmp::Ordering;
use std::fmt::Write;

use adulis_repository::Labels;
use adulis_tensor::{DataType, Shape, Tensor, append_element};
use bytes::Bytes;
use half::{bf16, f16};

/// An output's `classes` highest values of each row, highest first, as BYTES elements `value:index` or, where the class has
/// a label, `value:index:label`. All of them where there are not as many.
///
/// Shapes: `[rows, …]` gives `[rows, k]` for a model that batches; any other tensor is one row and gives `[k]`. Of equal
/// values the one with the lower index is first; NaN is below everything.
///
/// Cost: linear in the elements, and sorting the `k` that are chosen. `None` for BYTES, which have no order.
///
/// Source: Triton's classification extension.
pub(crate) fn classify(
    output: &Tensor,
    batches: bool,
    classes: usize,
    labels: Option<&Labels>,
) -> Option<Tensor> {
    let rows = if batches { output.shape().rows() } else { None };
    let wanted = Wanted { rows, classes, labels };
    let (shape, elements) = match output.datatype() {
        DataType::Bool => wanted.of::<u8>(output),
        DataType::Uint8 => wanted.of::<u8>(output),
        DataType::Uint16 => wanted.of::<u16>(output),
        DataType::Uint32 => wanted.of::<u32>(output),
        DataType::Uint64 => wanted.of::<u64>(output),
        DataType::Int8 => wanted.of::<i8>(output),
        DataType::Int16 => wanted.of::<i16>(output),
        DataType::Int32 => wanted.of::<i32>(output),
        DataType::Int64 => wanted.of::<i64>(output),
        DataType::Fp16 => wanted.of::<f16>(output),
        DataType::Bf16 => wanted.of::<bf16>(output),
        DataType::Fp32 => wanted.of::<f32>(output),
        DataType::Fp64 => wanted.of::<f64>(output),
        DataType::Bytes => return None,
    };
    let tensor = Tensor::new(DataType::Bytes, shape, Bytes::from(elements));
    Some(tensor.expect("invariant: as many elements as the shape has"))
}

struct Wanted<'a> {
    /// Rows of the leading dimension; `None` where all elements are one row.
    rows: Option<usize>,
    classes: usize,
    labels: Option<&'a Labels>,
}

impl Wanted<'_> {
    /// The shape and the elements in wire form.
    fn of<T: Value>(&self, output: &Tensor) -> (Shape, Vec<u8>) {
        let rows = self.rows.unwrap_or(1);
        let row_bytes = output.data().len().checked_div(rows).unwrap_or(0);
        let count = self.classes.min(row_bytes / T::BYTES);
        let mut elements = Vec::new();
        let mut ranked: Vec<(T, usize)> = Vec::with_capacity(row_bytes / T::BYTES);
        for row in output.data().chunks_exact(row_bytes.max(1)) {
            ranked.clear();
            ranked.extend(row.chunks_exact(T::BYTES).map(T::read).zip(0..));
            if count < ranked.len() {
                ranked.select_nth_unstable_by(count, highest_first);
                ranked.truncate(count);
            }
            ranked.sort_unstable_by(highest_first);
            self.append(&mut elements, &ranked);
        }
        let shape = match self.rows {
            Some(rows) => Shape::from([rows, count]),
            None => Shape::from([count]),
        };
        (shape, elements)
    }

    fn append<T: Value>(&self, elements: &mut Vec<u8>, ranked: &[(T, usize)]) {
        let mut text = String::new();
        for (value, index) in ranked {
            text.clear();
            value.write(&mut text);
            write!(text, ":{index}").expect("invariant: writing to a String does not fail");
            if let Some(label) = self.labels.and_then(|labels| labels.get(*index)) {
                text.push(':');
                text.push_str(label);
            }
            append_element(elements, text.as_bytes()).expect("invariant: labels are short");
        }
    }
}

/// Higher values first, NaN last, then by index.
fn highest_first<T: Value>((a, at): &(T, usize), (b, other): &(T, usize)) -> Ordering {
    let is_nan = |value: &T| value.partial_cmp(value).is_none();
    let by_value = b.partial_cmp(a).unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)));
    by_value.then(at.cmp(other))
}

/// A number of an output.
trait Value: Copy + PartialOrd {
    const BYTES: usize;

    /// From its little-endian bytes, which are as many as it has.
    fn read(bytes: &[u8]) -> Self;

    /// Writes it as C++'s `std::to_string` does, which is what Triton's clients read: floating point with six digits after
    /// the point.
    fn write(self, out: &mut String);
}

macro_rules! value {
    ($($number:ty, $written:expr;)*) => {$(
        impl Value for $number {
            const BYTES: usize = size_of::<Self>();

            fn read(bytes: &[u8]) -> Self {
                let bytes = bytes.try_into().expect("invariant: cut into pieces of this length");
                Self::from_le_bytes(bytes)
            }

            fn write(self, out: &mut String) {
                let write: fn($number, &mut String) -> std::fmt::Result = $written;
                write(self, out).expect("invariant: writing to a String does not fail");
            }
        }
    )*};
}

value! {
    u8, |value, out| write!(out, "{value}");
    u16, |value, out| write!(out, "{value}");
    u32, |value, out| write!(out, "{value}");
    u64, |value, out| write!(out, "{value}");
    i8, |value, out| write!(out, "{value}");
    i16, |value, out| write!(out, "{value}");
    i32, |value, out| write!(out, "{value}");
    i64, |value, out| write!(out, "{value}");
    f16, |value, out| float(value.into(), out);
    bf16, |value, out| float(value.into(), out);
    f32, |value, out| float(value.into(), out);
    f64, float;
}

fn float(value: f64, out: &mut String) -> std::fmt::Result {
    if value.is_nan() { out.write_str("nan") } else { write!(out, "{value:.6}") }
}

#[cfg(test)]
mod tests;
