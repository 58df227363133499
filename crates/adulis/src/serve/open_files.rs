//! How many files the process may have open, which sockets are, too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ServeOptions;

/// What is open beside connections: files of models, connections to what the server depends on, sockets of workers.
const OTHER_FILES: u64 = 256;

/// Lets the process open as many files as it may at most, and fewer connections than is configured where those do not suffice:
/// one too many is refused, rather than left waiting for a file.
///
/// Shells and systemd give a process a soft limit of 1,024, for programs that use `select(2)`, which nothing here does.
pub(super) fn raise_limit(options: &mut ServeOptions) {
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
    let listeners = options.addresses().len() as u64;
    let fitting = limit.and_then(|limit| fitting(limit, listeners));
    let fitting = fitting.and_then(|fitting| usize::try_from(fitting).ok());
    let configured = options.listener.max_connections;
    if let Some(fitting) = fitting.filter(|fitting| *fitting < configured) {
        options.listener.max_connections = fitting;
        tracing::info!(
            listeners,
            limit = shown,
            configured,
            "each listener takes {fitting} connections, for which files may be open, instead of server.max_connections; for more, \
             raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of a container)"
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
