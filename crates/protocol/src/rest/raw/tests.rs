use adulis_tensor::ShapePattern;

use super::*;

fn input(datatype: DataType, shape: &[i64], optional: bool) -> TensorMetadata {
    TensorMetadata { name: "X".into(), datatype, shape: ShapePattern::new(shape), optional }
}

fn metadata(inputs: Vec<TensorMetadata>) -> ModelMetadata {
    ModelMetadata {
        name: "m".into(),
        versions: vec![1],
        platform: "p".into(),
        inputs,
        outputs: Vec::new(),
    }
}

fn decode(datatype: DataType, shape: &[i64], bytes: usize) -> Result<Tensor, String> {
    let optional = input(DataType::Bool, &[1], true);
    let metadata = metadata(vec![optional, input(datatype, shape, false)]);
    let body = Bytes::from(vec![1_u8; bytes]);
    let decoded = decode_raw(ModelRef::latest("m"), &metadata, body).map_err(|error| error.to_string())?;
    assert!(decoded.format.is_binary(0, "any"));
    let [input] = &decoded.request.inputs[..] else {
        panic!("one input")
    };
    assert_eq!(input.name, "X");
    Ok(input.tensor.clone())
}

#[test]
fn the_shape_follows_from_the_model_and_the_bytes() {
    for (shape, bytes, expected) in [
        (&[2, 3][..], 24, &[2, 3][..]),
        (&[-1, 3], 12, &[1, 3]),
        (&[-1, 3], 36, &[3, 3]),
        (&[-1, -1], 20, &[1, 5]),
        (&[-1, 2, -1], 24, &[1, 2, 3]),
        (&[4, -1], 0, &[4, 0]),
        (&[], 4, &[]),
    ] {
        let tensor = decode(DataType::Fp32, shape, bytes).unwrap();
        assert_eq!((&tensor.shape()[..], tensor.data().len()), (expected, bytes), "{shape:?}");
    }
}

#[test]
fn bytes_are_one_element() {
    for shape in [&[1][..], &[-1, 1], &[-1, -1], &[]] {
        let tensor = decode(DataType::Bytes, shape, 3).unwrap();
        assert_eq!(tensor.elements(), 1);
        assert_eq!(&tensor.data()[..], b"\x03\0\0\0\x01\x01\x01");
    }
}

#[test]
fn what_does_not_fit_says_so() {
    for (datatype, shape, bytes) in [
        (DataType::Fp32, &[2, 3][..], 20),
        (DataType::Fp32, &[-1, 3], 13),
        (DataType::Fp32, &[-1, -1, -1], 12),
        (DataType::Fp32, &[3, -1, -1], 12),
        (DataType::Fp32, &[-1, 0], 4),
        (DataType::Fp32, &[i64::MAX, 4], 4),
        (DataType::Bytes, &[2], 5),
    ] {
        let error = decode(datatype, shape, bytes).unwrap_err();
        let shape = ShapePattern::new(shape);
        let expected = format!("model 'm': input 'X': {bytes} bytes do not fill {datatype} {shape}");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_model_has_one_input_that_is_required() {
    for inputs in [0, 2] {
        let inputs = (0..inputs).map(|_| input(DataType::Fp32, &[1], false)).collect::<Vec<_>>();
        let required = inputs.len();
        let error = decode_raw(ModelRef::latest("m"), &metadata(inputs), Bytes::new()).unwrap_err();
        let expected = format!("requires {required}: send a JSON object");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}
