use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::PoolError;

/// Answers by which a server says that it serves nobody, or not us. The library has no names of its own for them.
const REFUSALS: [&str; 3] = ["NOAUTH", "WRONGPASS", "MISCONF"];

const UNTRUSTED: &str = "nobody whom we trust has signed its certificate: name who has in ca_file";
const UNTRUSTED_CLIENT: &str = "it does not trust whoever signed our certificate, certificate_file";
const NO_TLS: &str =
    "where it does not speak TLS on this port, say redis:// in place of rediss://, or its port for TLS";

/// What to do where a handshake fails, by what the TLS library says of it. An authority with the name of the right one is told
/// from it by its signature.
const REMEDIES: [(&str, &str); 9] = [
    ("UnknownIssuer", UNTRUSTED),
    ("BadSignature", UNTRUSTED),
    (
        "not valid for name",
        "its certificate is for another host: call it in the URL as the certificate does",
    ),
    ("certificate expired", "its certificate has run out: it needs a new one"),
    ("CertificateRequired", "it asks who we are: set certificate_file and key_file"),
    ("UnknownCA", UNTRUSTED_CLIENT),
    ("DecryptError", UNTRUSTED_CLIENT),
    ("InvalidContentType", NO_TLS),
    // Redis waits for the end of what it takes for a command.
    ("timed out", NO_TLS),
];

/// What an error of an operation on a backend, which may take so long, means for the pool.
pub(super) fn pool_error((backend, limit): (&Arc<str>, Duration), error: &RedisError) -> PoolError {
    let (backend, reason) = (Arc::clone(backend), error.to_string());
    if refuses(error) {
        return PoolError::Refused { backend, reason };
    }
    if error.is_timeout() {
        // Within a cluster: the time of a part of the operation, told as such.
        return PoolError::Timeout { backend, limit };
    }
    if answers(error, &["NOSCRIPT"]) {
        return PoolError::NoScript { backend };
    }
    if answers(error, &["WRONGTYPE"]) {
        return PoolError::WrongType { backend, reason };
    }
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => {
            PoolError::Broken { backend, reason }
        }
        _ => PoolError::Answer { backend, reason },
    }
}

/// What an error while connecting, over TLS or not, means.
pub(super) fn connect_error((backend, tls): (&Arc<str>, bool), error: &RedisError) -> PoolError {
    let (backend, mut reason) = (Arc::clone(backend), error.to_string());
    if refuses(error) {
        return PoolError::Refused { backend, reason };
    }
    let remedy = REMEDIES.iter().find(|(sign, _)| tls && reason.contains(sign));
    if let Some((_, remedy)) = remedy {
        reason.push_str(": ");
        reason.push_str(remedy);
    }
    PoolError::Connect { backend, reason }
}

/// Whether the server says that it serves nobody, or not us, whatever is asked.
fn refuses(error: &RedisError) -> bool {
    let by_kind = matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
            )
    );
    by_kind || answers(error, &REFUSALS)
}

/// Whether the answer, or one of a pipeline's, is an error with one of these codes.
fn answers(error: &RedisError, codes: &[&str]) -> bool {
    let told = error.clone().into_server_errors().unwrap_or_default();
    told.iter().any(|(_, error)| codes.contains(&error.code()))
}
