use std::fs;
use std::path::{Path, PathBuf};

use crate::host::{Memory, read};

/// Bytes of memory that this process may use: those of the machine, or less where a cgroup that it is in says so. `None` where
/// the kernel does not tell.
///
/// Source: Linux's `cgroup-v2.rst` (`memory.max`) and `cgroup-v1/memory.rst` (`memory.limit_in_bytes`).
#[must_use]
pub fn usable_memory_bytes() -> Option<u64> {
    let total = read("/proc/meminfo", Memory::parse)?.total;
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // What is no number is "max".
    let limits = limit_files(&cgroups).into_iter().filter_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        text.trim().parse::<u64>().ok()
    });
    Some(limits.fold(total, u64::min))
}

/// The files with the limits of the cgroups that `/proc/self/cgroup` names, and of all above them.
fn limit_files(cgroups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let folders = Path::new(path.trim_start_matches('/')).ancestors();
        files.extend(folders.map(|folder| Path::new(root).join(folder).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_no_more_than_the_machine_has() {
        let total = read("/proc/meminfo", Memory::parse).unwrap().total;
        let usable = usable_memory_bytes().unwrap();
        assert!(0 < usable && usable <= total, "{usable} of {total}");
    }

    #[test]
    fn limits_are_looked_for_in_every_cgroup_above() {
        let told = |cgroups: &str| {
            let files = limit_files(cgroups).into_iter();
            files.map(|file| file.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            told("0::/a/b.slice\n"),
            [
                "/sys/fs/cgroup/a/b.slice/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        let first = "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes";
        let files = told("12:cpu,cpuacct:/x\n5:memory:/docker/1\nnothing\n");
        assert_eq!((files.len(), files[0].as_str()), (3, first));
        assert_eq!(files[2], "/sys/fs/cgroup/memory/memory.limit_in_bytes");
    }
}
