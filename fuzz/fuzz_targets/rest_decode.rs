//! REST bodies: the first two bytes choose the length of the JSON, the rest is the body. With a length of 0, which says that
//! the body is one tensor's data, its first byte chooses the datatype of that.
#![no_main]

use adulis_protocol::rest::{self, OutputFormat};
use adulis_tensor::{DataType, ShapePattern};
use adulis_types::{ModelMetadata, ModelRef, TensorMetadata};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[low, high], body)) = input.split_first_chunk::<2>() else {
        return;
    };
    let header = match u16::from_le_bytes([low, high]) {
        u16::MAX => None,
        length => Some(usize::from(length)),
    };
    let body = Bytes::copy_from_slice(body);
    let _ = rest::decode_response(body.clone(), header);
    if header == Some(0) {
        return raw(body);
    }
    let Ok(decoded) = rest::decode_infer(ModelRef::latest("m"), body, header) else {
        return;
    };
    // What was decoded encodes and decodes to the same.
    let again = rest::encode_request(&decoded.request, false, false);
    let header = again.header_length;
    let again = rest::decode_infer(ModelRef::latest("m"), again.into_bytes(), header).expect("our own request");
    if !has_nan(&decoded.request) {
        assert_eq!(format!("{:?}", decoded.request.inputs), format!("{:?}", again.request.inputs));
    }
    assert_eq!(again.format, expected_format(&decoded.request));
});

fn raw(mut body: Bytes) {
    if body.is_empty() {
        return;
    }
    let datatype = DataType::ALL[usize::from(body.split_to(1)[0]) % DataType::ALL.len()];
    let input = TensorMetadata {
        name: "x".into(),
        datatype,
        shape: ShapePattern::new(&[-1, 2]),
        optional: false,
    };
    let metadata = ModelMetadata {
        name: "m".into(),
        versions: vec![1],
        platform: "fuzz".into(),
        inputs: vec![input],
        outputs: Vec::new(),
    };
    if let Ok(decoded) = rest::decode_raw(ModelRef::latest("m"), &metadata, body) {
        let tensor = &decoded.request.inputs[0].tensor;
        assert!(metadata.inputs[0].shape.matches(tensor.shape()));
    }
}

/// Whether an input holds NaN, of which there are many in binary and one in JSON.
fn has_nan(request: &adulis_types::InferRequest) -> bool {
    request.inputs.iter().any(|input| {
        let data = input.tensor.data();
        match input.tensor.datatype() {
            DataType::Fp32 => data.as_chunks().0.iter().any(|bytes| f32::from_le_bytes(*bytes).is_nan()),
            DataType::Fp64 => data.as_chunks().0.iter().any(|bytes| f64::from_le_bytes(*bytes).is_nan()),
            _ => false,
        }
    })
}

/// The form that `encode_request` asks for: JSON for each output.
fn expected_format(request: &adulis_types::InferRequest) -> OutputFormat {
    let mut format = OutputFormat::new(false);
    for output in &request.outputs {
        format.set(output.name.clone(), false);
    }
    format
}
