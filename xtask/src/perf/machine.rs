//! Where figures come from: a figure without its machine is none.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::{onnxruntime, process, workspace};

/// The machine and what the figures were built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    is_virtual: bool,
    memory: String,
    system: String,
    kernel: String,
    rust: String,
    onnxruntime: String,
}

const UNKNOWN: &str = "unknown";

impl Machine {
    /// This one; what can't be told is "unknown".
    pub(super) fn this() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        Self {
            cpu: field(&cpuinfo, "model name", ':').unwrap_or(UNKNOWN).to_owned(),
            cores: cores(),
            is_virtual: field(&cpuinfo, "flags", ':').is_some_and(is_guest),
            memory: field(&read("/proc/meminfo"), "MemTotal", ':')
                .map_or_else(|| UNKNOWN.to_owned(), gibibytes),
            system: field(&read("/etc/os-release"), "PRETTY_NAME", '=')
                .map_or(UNKNOWN, |name| name.trim_matches('"'))
                .to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rust: told(Command::new("rustc").arg("--version")),
            onnxruntime: onnxruntime::VERSION.to_owned(),
        }
    }
}

/// Cores that this process may use.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The commit that is checked out, with a mark if files differ from it.
pub(super) fn commit() -> String {
    let mut git = Command::new("git");
    told(
        git.arg("-C")
            .arg(workspace::root())
            .args(["describe", "--always", "--dirty", "--exclude", "*"]),
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The first line of what a program says.
fn told(command: &mut Command) -> String {
    let text = process::capture(command).unwrap_or_default();
    text.lines().next().unwrap_or(UNKNOWN).to_owned()
}

/// The value of the first line `name SEPARATOR value`.
fn field<'a>(text: &'a str, name: &str, separator: char) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == name).then_some(value.trim())
    })
}

/// The CPU says that a hypervisor runs it.
fn is_guest(flags: &str) -> bool {
    flags.split_ascii_whitespace().any(|flag| flag == "hypervisor")
}

/// `24593412 kB` in GiB.
fn gibibytes(kibibytes: &str) -> String {
    let number = kibibytes.split(' ').next().and_then(|number| number.parse::<f64>().ok());
    number.map_or_else(|| UNKNOWN.to_owned(), |kibibytes| format!("{:.0} GiB", kibibytes / 1024.0 / 1024.0))
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory, system, kernel, rust, onnxruntime, .. } = self;
        let kind = if self.is_virtual { "a virtual machine" } else { "a machine" };
        write!(
            f,
            "{kind} with {cores} cores ({cpu}) and {memory}, {system}, Linux {kernel}, {rust}, ONNX Runtime \
             {onnxruntime}; the load generator runs on the same cores"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 97\nmodel name\t: A CPU: fast\nflags\t: fpu hypervisor sse\n";
        assert_eq!(field(text, "model name", ':'), Some("A CPU: fast"));
        assert_eq!(field(text, "name", ':'), None);
        assert!(is_guest(field(text, "flags", ':').unwrap()));
        assert!(!is_guest("fpu sse"));
    }

    #[test]
    fn memory_is_told_in_gibibytes() {
        assert_eq!(gibibytes("24593412 kB"), "23 GiB");
        assert_eq!(gibibytes("much"), UNKNOWN);
    }

    #[test]
    fn this_machine_has_cores_and_a_commit() {
        assert!(Machine::this().cores > 0);
        assert_ne!(commit(), UNKNOWN);
    }
}
