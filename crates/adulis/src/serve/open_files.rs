//! How many files the process may have open, which sockets are, too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ServeOptions;

/// What is open beside connections: files of models, connections to what the server depends on, sockets of workers.
const OTHER_FILES: u64 = 256;

/// Lets the process open as many files as it may at most, and warns where connections are allowed that they do not suffice for.
///
/// Shells and systemd give a process a soft limit of 1,024, for programs that use `select(2)`, which nothing here does.
pub(super) fn raise_limit(options: &ServeOptions) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            limit.current
        }
    };
    let shown = limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
    tracing::debug!(limit = shown, "open files");
    if let Some(limit) = limit {
        warn(limit, options.addresses().len() as u64, options.listener.max_connections as u64);
    }
}

fn warn(limit: u64, listeners: u64, max_connections: u64) {
    let connections = listeners.saturating_mul(max_connections);
    if let Some(fitting) = fitting(limit, listeners).filter(|fitting| *fitting < max_connections) {
        tracing::warn!(
            listeners,
            connections,
            limit,
            "server.max_connections allows more connections than files may be open: set it to {fitting} or less, or raise the hard \
             limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of a container)"
        );
    }
}

/// Most connections of each listener that there are files for; `None`: there is no listener.
fn fitting(limit: u64, listeners: u64) -> Option<u64> {
    let fitting = limit.saturating_sub(OTHER_FILES).checked_div(listeners)?;
    Some(fitting.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_what_is_left_beside_other_files() {
        assert_eq!(fitting(1024, 3), Some(256));
        assert_eq!(fitting(1024, 1), Some(768));
        assert_eq!(fitting(100, 3), Some(1), "fewer are no server");
        assert_eq!(fitting(u64::MAX, 0), None);
    }
}
