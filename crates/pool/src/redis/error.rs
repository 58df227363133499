use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::PoolError;

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
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => {
            PoolError::Broken { backend, reason }
        }
        _ => PoolError::Answer { backend, reason },
    }
}

/// What an error while connecting means.
pub(super) fn connect_error(backend: &Arc<str>, error: &RedisError) -> PoolError {
    let (backend, reason) = (Arc::clone(backend), error.to_string());
    if refuses(error) {
        PoolError::Refused { backend, reason }
    } else {
        PoolError::Connect { backend, reason }
    }
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
    by_kind || error.code().is_some_and(|code| ["NOAUTH", "WRONGPASS", "MISCONF"].contains(&code))
}
