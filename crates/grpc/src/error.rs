use std::borrow::Cow;
use std::time::Duration;

use adulis_types::{ErrorKind, Name, ServiceError};

/// What the gRPC frontend itself refuses, or fails at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrpcError {
    #[error("metadata grpc-timeout is {given}: expected 1 to 8 digits and a unit of H, M, S, m, u or n")]
    Timeout { given: String },
    #[error("model '{model}' did not answer within {waited:?}")]
    Deadline { model: Name, waited: Duration },
    #[error("the configuration of model '{model}' is no ModelConfig")]
    Config { model: Name, source: prost::DecodeError },
    #[error("a handler panicked: {message}")]
    Panicked { message: String },
}

impl ServiceError for GrpcError {
    fn kind(&self) -> ErrorKind {
        match self {
            GrpcError::Timeout { .. } => ErrorKind::InvalidArgument,
            GrpcError::Deadline { .. } => ErrorKind::DeadlineExceeded,
            GrpcError::Config { .. } | GrpcError::Panicked { .. } => ErrorKind::Internal,
        }
    }

    fn client_message(&self) -> Cow<'static, str> {
        match self {
            GrpcError::Config { .. } | GrpcError::Panicked { .. } => Cow::Borrowed("internal error"),
            GrpcError::Timeout { .. } | GrpcError::Deadline { .. } => Cow::Owned(self.to_string()),
        }
    }
}
