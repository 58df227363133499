//! One table from kinds of errors to what the two protocols answer.

use adulis_types::ErrorKind;
use tonic::Code;

/// HTTP status and gRPC code of every kind. Where Triton knows the kind, its HTTP statuses are these.
const fn row(kind: ErrorKind) -> (u16, Code) {
    match kind {
        ErrorKind::InvalidArgument => (400, Code::InvalidArgument),
        ErrorKind::NotFound => (404, Code::NotFound),
        ErrorKind::AlreadyExists => (400, Code::AlreadyExists),
        ErrorKind::Unauthenticated => (401, Code::Unauthenticated),
        ErrorKind::PermissionDenied => (403, Code::PermissionDenied),
        ErrorKind::TooLarge => (413, Code::ResourceExhausted),
        ErrorKind::RateLimited => (429, Code::ResourceExhausted),
        ErrorKind::Overloaded => (503, Code::Unavailable),
        ErrorKind::Unavailable => (503, Code::Unavailable),
        ErrorKind::DeadlineExceeded => (504, Code::DeadlineExceeded),
        ErrorKind::Cancelled => (499, Code::Cancelled),
        ErrorKind::Unsupported => (501, Code::Unimplemented),
        ErrorKind::Internal => (500, Code::Internal),
    }
}

/// The HTTP status of an error.
#[must_use]
pub const fn http_status(kind: ErrorKind) -> u16 {
    row(kind).0
}

/// The gRPC code of an error.
#[must_use]
pub const fn grpc_code(kind: ErrorKind) -> Code {
    row(kind).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        let table: Vec<String> = ErrorKind::ALL
            .into_iter()
            .map(|kind| {
                let name = kind.as_str();
                format!("{name:<18} {} {:?}", http_status(kind), grpc_code(kind))
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        invalid_argument   400 InvalidArgument
        not_found          404 NotFound
        already_exists     400 AlreadyExists
        unauthenticated    401 Unauthenticated
        permission_denied  403 PermissionDenied
        too_large          413 ResourceExhausted
        rate_limited       429 ResourceExhausted
        overloaded         503 Unavailable
        unavailable        503 Unavailable
        deadline_exceeded  504 DeadlineExceeded
        cancelled          499 Cancelled
        unsupported        501 Unimplemented
        internal           500 Internal
        ");
    }
}
