//! What the tests' own backends share: models of one byte per row.
#![allow(dead_code, reason = "each test binary uses a part")]

use adulis_backend::{Batching, ModelSignature, TensorSpec};
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use adulis_types::{InferRequest, InputTensor, ModelRef};
use bytes::Bytes;

/// The signature of a model that takes rows of one byte in `IN` and gives as many in `OUT`.
pub(crate) fn byte_signature() -> ModelSignature {
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        datatype: DataType::Uint8,
        shape: ShapePattern::new(&[-1, 1]),
        optional: false,
    };
    ModelSignature {
        inputs: vec![spec("IN")],
        outputs: vec![spec("OUT")],
        batching: Batching::Possible,
    }
}

/// A request to such a model, with a row for each byte.
pub(crate) fn byte_request(model: ModelRef, rows: &[u8]) -> InferRequest {
    let mut request = InferRequest::new(model);
    let data = Bytes::copy_from_slice(rows);
    let tensor = Tensor::new(DataType::Uint8, Shape::from([rows.len(), 1]), data);
    let tensor = tensor.expect("invariant: as many bytes as rows");
    request.inputs.push(InputTensor { name: "IN".into(), tensor });
    request
}
