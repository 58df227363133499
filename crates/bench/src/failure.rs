use std::borrow::Cow;
use std::fmt;
use std::io;

/// Why one request got no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub(crate) struct Failure {
    /// What kind of failure; failures are counted by it.
    pub(crate) kind: FailureKind,
    /// What the server or the system said.
    pub(crate) message: Cow<'static, str>,
}

/// The kinds of failure that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FailureKind {
    /// No connection could be made.
    Connect,
    /// The connection broke before the answer was complete.
    Closed,
    /// No complete answer within the timeout.
    Timeout,
    /// An HTTP status other than 2xx.
    Http(u16),
    /// A gRPC status other than OK.
    Grpc(u16),
    /// The answer is no well-formed HTTP/1.1, HTTP/2 or gRPC message.
    Malformed,
    /// The answer came, and does not decode as an inference response (`--verify`).
    Undecodable,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailureKind::Connect => f.write_str("connect"),
            FailureKind::Closed => f.write_str("connection closed"),
            FailureKind::Timeout => f.write_str("timeout"),
            FailureKind::Http(status) => write!(f, "HTTP {status}"),
            FailureKind::Grpc(code) => write!(f, "gRPC {}", grpc_code(*code)),
            FailureKind::Malformed => f.write_str("malformed answer"),
            FailureKind::Undecodable => f.write_str("undecodable answer"),
        }
    }
}

/// Source: the status codes of gRPC's core documentation, in their numeric order.
fn grpc_code(code: u16) -> Cow<'static, str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::from(code)).map_or_else(|| code.to_string().into(), |&name| name.into())
}

/// Longest message that is kept, in characters.
const MESSAGE_CHARACTERS: usize = 300;

impl Failure {
    /// A failure; long messages are cut.
    pub(crate) fn new(kind: FailureKind, message: impl Into<Cow<'static, str>>) -> Self {
        let message: Cow<'static, str> = message.into();
        let message = match message.char_indices().nth(MESSAGE_CHARACTERS) {
            Some((end, _)) => format!("{}…", &message[..end]).into(),
            None => message,
        };
        Self { kind, message }
    }

    /// The connection broke.
    #[must_use]
    pub(crate) fn closed(error: &io::Error) -> Self {
        Self::new(FailureKind::Closed, error.to_string())
    }

    /// The answer breaks its protocol.
    pub(crate) fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FailureKind::Malformed, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names_and_messages_an_end() {
        assert_eq!(FailureKind::Grpc(8).to_string(), "gRPC RESOURCE_EXHAUSTED");
        assert_eq!(FailureKind::Grpc(99).to_string(), "gRPC 99");
        let failure = Failure::new(FailureKind::Http(503), "é".repeat(1000));
        assert_eq!(failure.message.chars().count(), MESSAGE_CHARACTERS + 1);
    }
}
