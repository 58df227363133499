//! Messages as the bodies of plain HTTP requests.

use adulis_types::{InferResponse, ModelRef};
use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use smallvec::SmallVec;

use crate::DecodeError;
use crate::body::Pieces;
use crate::grpc::{ModelInferRequest, decode_message, encode_infer, request};
use crate::rest::RestRequest;
use crate::version::agree;

/// Number of `ModelInferResponse`'s field for raw contents.
const RAW_OUTPUT_CONTENTS: u32 = 6;

/// Decodes a body that is a `ModelInferRequest`, asked of `model`. Where the message names a model too, it is the same one.
/// The format is that of an answer in JSON, which is one with every output in it.
///
/// Cost: raw contents are slices of `body`, not copied.
///
/// # Errors
/// [`DecodeError`] naming the model, the input, what was expected and what came.
pub fn decode_body(model: ModelRef, body: Bytes) -> Result<RestRequest, DecodeError> {
    let read = decode_message::<ModelInferRequest>(body);
    let mut message = read.map_err(|error| DecodeError::new(model.name.clone(), error.problem))?;
    if message.model_name.is_empty() {
        message.model_name = model.name.to_string();
    }
    let (mut request, wishes) = request::decode(message)?;
    match agree(&model, &request.model.name, request.model.version) {
        Ok(()) => {
            request.model.version = request.model.version.or(model.version);
            Ok(RestRequest { request, format: wishes.in_json() })
        }
        Err(problem) => Err(DecodeError::new(model.name, problem)),
    }
}

/// Encodes a response as a body that is a `ModelInferResponse`.
///
/// Cost: outputs of more than a kilobyte are pieces of the body as they are, not copied.
#[must_use]
pub fn encode_body(response: InferResponse) -> SmallVec<[Bytes; 4]> {
    let mut message = encode_infer(response);
    // Fields may come in any order: the raw contents follow all others, each behind its number and length.
    let contents = std::mem::take(&mut message.raw_output_contents);
    let mut pieces = Pieces::new(message.encode_to_vec());
    for content in contents {
        let head = pieces.text();
        encode_key(RAW_OUTPUT_CONTENTS, WireType::LengthDelimited, head);
        encode_varint(content.len() as u64, head);
        pieces.push(content);
    }
    pieces.finish()
}
