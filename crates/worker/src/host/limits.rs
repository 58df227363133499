use std::io;

use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Has signals that ask a process to stop do nothing, as long as the answer is held: an orchestrator may send them to all
/// processes of a service, and the server has requests to answer yet. Workers end when the server does.
pub(super) fn ignore_signals() -> io::Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let within = runtime.enter();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::user_defined2(),
    ] {
        // A handler stays in place for good.
        drop(signal(kind)?);
    }
    drop(within);
    Ok(runtime)
}

/// Has the kernel end this process when the server dies. The closed socket would tell, too, but not a process whose only
/// thread that listens is kept from it.
pub(super) fn die_with_parent() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        tracing::debug!(%error, "the kernel does not end this worker with its server; the closed socket does");
    }
}

/// Limits this process's private memory, and has the kernel choose it before others when there is none left.
pub(super) fn apply(memory: u64, oom_score_adj: u64) {
    if memory > 0 {
        let limit = Rlimit { current: Some(memory), maximum: Some(memory) };
        if let Err(error) = setrlimit(Resource::Data, limit) {
            tracing::warn!(%error, bytes = memory, "the memory of this worker is not limited");
        }
    }
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", oom_score_adj.to_string()) {
        tracing::debug!(%error, oom_score_adj, "the kernel is not told to kill this worker first when memory runs out");
    }
}

/// Ends this process without waiting for anything but its log: libraries that clean up at an exit may wait for threads that still
/// run.
pub(super) fn end_at_once() -> ! {
    adulis_telemetry::flush_log();
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
