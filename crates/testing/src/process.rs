use std::io;

use rustix::process::{Pid, Signal, kill_process};

/// A signal for any process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessSignal {
    /// SIGKILL: it ends at once.
    Kill,
    /// SIGSTOP: it stands still.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    HangUp,
    /// SIGSEGV: what a process gets that reads or writes where it has no memory.
    Segfault,
    /// SIGUSR2.
    User2,
}

/// Sends a signal to a process.
///
/// # Errors
/// As the system says; `NotFound` or alike where there is none.
pub fn send_signal(pid: u32, signal: ProcessSignal) -> io::Result<()> {
    let signal = match signal {
        ProcessSignal::Kill => Signal::KILL,
        ProcessSignal::Stop => Signal::STOP,
        ProcessSignal::Continue => Signal::CONT,
        ProcessSignal::Terminate => Signal::TERM,
        ProcessSignal::HangUp => Signal::HUP,
        ProcessSignal::Segfault => Signal::SEGV,
        ProcessSignal::User2 => Signal::USR2,
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, signal)?)
}

/// The processes whose parent this one is, but for those that have ended and were not waited for.
///
/// # Errors
/// As the system says. Linux only.
pub fn children(parent: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may end while this is read.
        if matches!(state(pid), Some((state, of)) if of == parent && state != 'Z') {
            children.push(pid);
        }
    }
    Ok(children)
}

/// Whether a process is there and has not ended.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    matches!(state(pid), Some((state, _)) if state != 'Z')
}

/// State and parent of a process.
fn state(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before them may hold anything, parentheses too.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
