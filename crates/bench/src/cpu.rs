use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Clock ticks per second in `/proc/PID/stat`; fixed at 100 on every Linux.
const TICKS_PER_SECOND: u32 = 100;

/// CPU time, user and system, that a local process and its threads have used so far. Resolution: 10 ms.
///
/// # Errors
/// Where there is no such process, or no `/proc`.
///
/// Source: proc_pid_stat(5), fields 14 and 15.
pub(crate) fn process_cpu(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_stat(&text).with_context(|| format!("cannot understand {path}"))
}

/// CPU time of this process; zero where it cannot be told.
pub(crate) fn own_cpu() -> Duration {
    process_cpu(std::process::id()).unwrap_or_default()
}

fn parse_stat(text: &str) -> Option<Duration> {
    // The command name, in parentheses, may hold spaces and parentheses: the fields are counted from behind it.
    let (_, after) = text.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    let ticks = ticks()?.checked_add(ticks()?)?;
    Some(Duration::from_secs(ticks.into()) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let text = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(parse_stat(text), Some(Duration::from_secs(2)));
        assert_eq!(parse_stat("42 (x) S 1 2"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(process_cpu(u32::MAX).is_err());
    }
}
