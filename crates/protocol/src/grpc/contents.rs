use adulis_tensor::{DataType, Shape, Tensor, append_element};
use bytes::Bytes;

use crate::grpc::InferTensorContents;
use crate::tensors::binary_tensor;
use crate::{TensorProblem, tensors};

/// One tensor of a message: what inputs and outputs have in common.
pub(super) struct Parts {
    pub(super) datatype: String,
    pub(super) shape: Vec<i64>,
    pub(super) contents: Option<InferTensorContents>,
}

/// The tensor of raw bytes, where the message has them, or of typed contents.
pub(super) fn tensor(parts: Parts, raw: Option<Bytes>) -> Result<Tensor, TensorProblem> {
    let datatype = tensors::datatype_of(&parts.datatype)?;
    let shape = tensors::shape_of(&parts.shape)?;
    let contents = parts.contents.unwrap_or_default();
    match raw {
        Some(data) => match filled(&contents).first() {
            None => binary_tensor(datatype, shape, data),
            Some(got) => Err(TensorProblem::Contents {
                datatype,
                expected: "no typed contents beside raw contents",
                got,
            }),
        },
        None => typed(datatype, shape, contents),
    }
}

/// The fields that have elements.
pub(super) fn filled(contents: &InferTensorContents) -> smallvec::SmallVec<[&'static str; 8]> {
    [
        (!contents.bool_contents.is_empty(), "bool_contents"),
        (!contents.int_contents.is_empty(), "int_contents"),
        (!contents.int64_contents.is_empty(), "int64_contents"),
        (!contents.uint_contents.is_empty(), "uint_contents"),
        (!contents.uint64_contents.is_empty(), "uint64_contents"),
        (!contents.fp32_contents.is_empty(), "fp32_contents"),
        (!contents.fp64_contents.is_empty(), "fp64_contents"),
        (!contents.bytes_contents.is_empty(), "bytes_contents"),
    ]
    .into_iter()
    .filter_map(|(full, field)| full.then_some(field))
    .collect()
}

/// Bytes that elements take in memory which are fewer on the wire: integers, and strings beside their text.
pub(super) fn grown_bytes(contents: &InferTensorContents) -> usize {
    size_of_val(contents.int_contents.as_slice())
        + size_of_val(contents.int64_contents.as_slice())
        + size_of_val(contents.uint_contents.as_slice())
        + size_of_val(contents.uint64_contents.as_slice())
        + size_of_val(contents.bytes_contents.as_slice())
}

/// Where the elements of a datatype belong.
fn field_of(datatype: DataType) -> &'static str {
    match datatype {
        DataType::Bool => "bool_contents",
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 => "uint_contents",
        DataType::Uint64 => "uint64_contents",
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int_contents",
        DataType::Int64 => "int64_contents",
        DataType::Fp16 | DataType::Bf16 => "raw contents",
        DataType::Fp32 => "fp32_contents",
        DataType::Fp64 => "fp64_contents",
        DataType::Bytes => "bytes_contents",
    }
}

fn typed(datatype: DataType, shape: Shape, contents: InferTensorContents) -> Result<Tensor, TensorProblem> {
    let expected = field_of(datatype);
    if let Some(got) = filled(&contents).into_iter().find(|field| *field != expected) {
        return Err(TensorProblem::Contents { datatype, expected, got });
    }
    if matches!(datatype, DataType::Fp16 | DataType::Bf16) && shape.elements() != Some(0) {
        return Err(TensorProblem::Contents { datatype, expected, got: "none" });
    }
    let (data, actual) = match datatype {
        DataType::Bool => {
            let bytes: Vec<u8> = contents.bool_contents.iter().map(|&value| u8::from(value)).collect();
            let count = bytes.len();
            (Bytes::from(bytes), count)
        }
        DataType::Uint8 => narrow::<u32, u8>(&contents.uint_contents, datatype, "0 to 255")?,
        DataType::Uint16 => narrow::<u32, u16>(&contents.uint_contents, datatype, "0 to 65535")?,
        DataType::Int8 => narrow::<i32, i8>(&contents.int_contents, datatype, "-128 to 127")?,
        DataType::Int16 => narrow::<i32, i16>(&contents.int_contents, datatype, "-32768 to 32767")?,
        DataType::Uint32 => whole(contents.uint_contents),
        DataType::Uint64 => whole(contents.uint64_contents),
        DataType::Int32 => whole(contents.int_contents),
        DataType::Int64 => whole(contents.int64_contents),
        DataType::Fp32 => whole(contents.fp32_contents),
        DataType::Fp64 => whole(contents.fp64_contents),
        DataType::Fp16 | DataType::Bf16 => (Bytes::new(), 0),
        DataType::Bytes => {
            let mut data = Vec::with_capacity(contents.bytes_contents.iter().map(|one| one.len() + 4).sum());
            for element in &contents.bytes_contents {
                append_element(&mut data, element)?;
            }
            (Bytes::from(data), contents.bytes_contents.len())
        }
    };
    tensors::counted(datatype, shape, data, actual)
}

/// Elements of the datatype's own width, without a copy.
fn whole<T: bytemuck::Pod + Send>(values: Vec<T>) -> (Bytes, usize) {
    struct Owner<T>(Vec<T>);

    impl<T: bytemuck::Pod> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }

    let count = values.len();
    (Bytes::from_owner(Owner(values)), count)
}

/// Elements that came wider than the datatype is.
fn narrow<W, N>(
    values: &[W],
    datatype: DataType,
    expected: &'static str,
) -> Result<(Bytes, usize), TensorProblem>
where
    W: Copy + std::fmt::Display,
    N: TryFrom<W> + bytemuck::Pod + Send,
{
    let narrowed: Result<Vec<N>, _> = values
        .iter()
        .enumerate()
        .map(|(index, &value)| {
            N::try_from(value).map_err(|_| TensorProblem::Value {
                datatype,
                index,
                expected,
                got: value.to_string().into(),
            })
        })
        .collect();
    Ok(whole(narrowed?))
}
