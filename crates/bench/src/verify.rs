use adulis_protocol::grpc::ModelInferResponse;
use prost::Message;

use crate::client::Answer;

/// What is expected of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Their status alone.
    Nothing,
    /// An inference response over REST.
    Rest,
    /// An inference response over gRPC.
    Grpc,
}

impl Verify {
    /// Whether the answer is what is expected; the error says why not.
    pub(crate) fn check(self, answer: &Answer) -> Result<(), String> {
        match self {
            Verify::Nothing => Ok(()),
            Verify::Rest => adulis_protocol::rest::decode_response(answer.body.clone(), answer.header_length)
                .map(drop)
                .map_err(|error| error.to_string()),
            Verify::Grpc => {
                let message =
                    ModelInferResponse::decode(&answer.body[..]).map_err(|error| error.to_string())?;
                adulis_protocol::grpc::decode_response(message)
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
        }
    }
}
