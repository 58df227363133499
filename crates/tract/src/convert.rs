use adulis_backend::{BackendError, BatchInput, TensorSpec};
use adulis_tensor::{DataType, Shape, Tensor, append_element, elements_of};
use bytes::Bytes;
use tract_onnx::prelude::tract_ndarray::{ArrayD, IxDyn};
use tract_onnx::prelude::{DatumType, TValue, Tensor as EngineTensor, TractError};

/// Outputs up to this size are copied out, so that a response does not hold on to a whole tensor object.
const COPY_BYTES: usize = 4096;

/// The engine's type for a datatype, where it has one.
pub(crate) fn datum_of(datatype: DataType) -> Option<DatumType> {
    Some(match datatype {
        DataType::Bool => DatumType::Bool,
        DataType::Uint8 => DatumType::U8,
        DataType::Uint16 => DatumType::U16,
        DataType::Uint32 => DatumType::U32,
        DataType::Uint64 => DatumType::U64,
        DataType::Int8 => DatumType::I8,
        DataType::Int16 => DatumType::I16,
        DataType::Int32 => DatumType::I32,
        DataType::Int64 => DatumType::I64,
        DataType::Fp16 => DatumType::F16,
        DataType::Fp32 => DatumType::F32,
        DataType::Fp64 => DatumType::F64,
        DataType::Bytes => DatumType::String,
        DataType::Bf16 => return None,
    })
}

/// Gathers one input into a tensor of the engine's own, which a run takes over.
pub(crate) fn gather(input: &BatchInput) -> Result<TValue, BackendError> {
    let fail =
        |reason: String| BackendError::Execution { reason: format!("input {:?}: {reason}", input.name) };
    if input.datatype == DataType::Bytes {
        return gather_strings(input).map_err(fail);
    }
    let datum =
        datum_of(input.datatype).ok_or_else(|| fail(format!("the engine has no {}", input.datatype)))?;
    let mut tensor = EngineTensor::zero_dt(datum, &input.shape).map_err(|error| fail(error.to_string()))?;
    if tensor.len() > 0 {
        let mut rest = tensor.as_bytes_mut();
        for part in input.chunks() {
            let Some((place, after)) = rest.split_at_mut_checked(part.len()) else {
                return Err(fail(format!("more data than {} holds", input.shape)));
            };
            place.copy_from_slice(part);
            if input.datatype == DataType::Bool {
                // To the engine these are Rust's `bool`, for which no other value may exist.
                place.iter_mut().for_each(|flag| *flag = u8::from(*flag != 0));
            }
            rest = after;
        }
        if !rest.is_empty() {
            return Err(fail(format!("less data than {} holds", input.shape)));
        }
    }
    Ok(tensor.into())
}

fn gather_strings(input: &BatchInput) -> Result<TValue, String> {
    let texts = input
        .chunks()
        .flat_map(elements_of)
        .enumerate()
        .map(|(index, element)| {
            std::str::from_utf8(element)
                .map(str::to_owned)
                .map_err(|_| format!("element {index} is not UTF-8, which this engine needs"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let array = ArrayD::from_shape_vec(IxDyn(&input.shape), texts).map_err(|error| error.to_string())?;
    Ok(EngineTensor::from(array).into())
}

/// Takes an output over, as memory that the tensor shares with the engine (or a copy, where small).
pub(crate) fn output(value: TValue, spec: &TensorSpec) -> Result<Tensor, TractError> {
    let shape = Shape::new(value.shape());
    let data = match datum_of(spec.datatype) {
        Some(DatumType::String) => strings_of(&value)?,
        Some(datum) if value.datum_type().unquantized() == datum => shared(value),
        // The engine keeps shapes as symbolic numbers of its own.
        Some(datum) => shared(value.cast_to_dt(datum)?.into_owned().into()),
        None => return Err(TractError::msg(format!("the engine has no {}", spec.datatype))),
    };
    Tensor::new(spec.datatype, shape, data).map_err(TractError::msg)
}

fn shared(value: TValue) -> Bytes {
    if value.len() == 0 {
        return Bytes::new();
    }
    if value.as_bytes().len() <= COPY_BYTES {
        return Bytes::copy_from_slice(value.as_bytes());
    }
    Bytes::from_owner(Shared(value))
}

struct Shared(TValue);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn strings_of(value: &TValue) -> Result<Bytes, TractError> {
    let mut wire = Vec::new();
    for text in value.to_plain_array_view::<String>()? {
        append_element(&mut wire, text.as_bytes()).map_err(TractError::msg)?;
    }
    Ok(wire.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_datatypes_but_bf16_have_a_type_of_the_same_size() {
        for datatype in DataType::ALL {
            match (datum_of(datatype), datatype.size_bytes()) {
                (Some(datum), Some(size)) => assert_eq!(datum.size_of(), size, "{datatype}"),
                (Some(datum), None) => assert_eq!(datum, DatumType::String),
                (None, _) => assert_eq!(datatype, DataType::Bf16),
            }
        }
    }
}
