#![cfg(target_os = "linux")]

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process, and what it starts from now on, open so many files, as far as the system permits any user to ask for them.
///
/// # Errors
/// `Unsupported` where it does not; then it says how many it does. Otherwise as the system says.
pub fn allow_open_files(count: u64) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < count) {
        let message =
            format!("{count} open files are needed, and at most {maximum} are permitted (ulimit -Hn)");
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })?)
}
