use adulis_tensor::DataType;
use ort::sys::ONNXTensorElementDataType as Element;

/// The engine's number for a datatype.
pub(crate) const fn element_of(datatype: DataType) -> Element {
    match datatype {
        DataType::Bool => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        DataType::Uint8 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        DataType::Uint16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
        DataType::Uint32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
        DataType::Uint64 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,
        DataType::Int8 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        DataType::Int16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
        DataType::Int32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        DataType::Int64 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        DataType::Fp16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        DataType::Bf16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        DataType::Fp32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        DataType::Fp64 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        DataType::Bytes => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
    }
}

/// The datatype of an engine's number, or the ONNX name of one that the protocol does not have.
///
/// Takes the plain number, because a newer library may have types that the declarations do not know.
pub(crate) fn datatype_of(element: i32) -> Result<DataType, String> {
    if let Some(datatype) = DataType::ALL.into_iter().find(|&datatype| element_of(datatype) as i32 == element)
    {
        return Ok(datatype);
    }
    const OTHERS: [(Element, &str); 13] = [
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, "an undefined type"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX64, "complex64"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX128, "complex128"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FN, "float8e4m3fn"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FNUZ, "float8e4m3fnuz"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2, "float8e5m2"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2FNUZ, "float8e5m2fnuz"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4, "uint4"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4, "int4"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT4E2M1, "float4e2m1"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT2, "uint2"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT2, "int2"),
        (Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E8M0, "float8e8m0"),
    ];
    Err(OTHERS
        .iter()
        .find(|(other, _)| *other as i32 == element)
        .map_or_else(|| format!("ONNX type {element}"), |(_, name)| (*name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datatype_has_its_number() {
        for datatype in DataType::ALL {
            assert_eq!(datatype_of(element_of(datatype) as i32), Ok(datatype));
        }
        assert_eq!(datatype_of(14), Err("complex64".to_owned()));
        assert_eq!(datatype_of(99), Err("ONNX type 99".to_owned()));
    }
}
