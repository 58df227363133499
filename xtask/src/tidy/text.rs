//! Every text file: no host names of package registries, no paths of somebody's machine.

use super::{Fault, SourceFile};

/// Package registries: which mirror is used is a matter of the machine's configuration, not of this repository.
/// In pieces, so that this file doesn't hold the names it looks for.
const REGISTRIES: [&str; 10] = [
    concat!("crates", ".io"),
    concat!("static.rust-", "lang.org"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("deb.", "debian.org"),
    concat!("rubygems", ".org"),
    concat!("proxy.", "golang.org"),
    concat!("registry-1.", "docker.io"),
];

/// Beginnings of absolute paths that exist on one machine only.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
];

/// Cargo writes the registry of each crate into it: of the workspace, and of the fuzz targets.
const LOCK_FILES: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

/// Checks one file.
pub(super) fn check(file: &SourceFile) -> Vec<Fault> {
    if LOCK_FILES.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if let Some(host) = REGISTRIES.iter().find(|host| line.contains(**host)) {
            faults.push(Fault::at(&file.path, index, format!("names the registry {host}")));
        }
        if let Some(path) = MACHINE_PATHS.iter().find(|path| holds_path(line, path)) {
            faults.push(Fault::at(&file.path, index, format!("holds a path of one machine ({path})")));
        }
    }
    faults
}

/// The path's beginning, not in the middle of a longer path or URL.
fn holds_path(line: &str, path: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || "._-~/}$".contains(c);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(goes_on))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&SourceFile { path: path.to_owned(), text: text.to_owned() }).len()
    }

    #[test]
    fn a_registry_fails_everywhere_but_in_the_lock_file() {
        for host in REGISTRIES {
            assert_eq!(count("docs/a.md", &format!("see https://{host}/x\n")), 1, "{host}");
            for file in LOCK_FILES {
                assert_eq!(count(file, &format!("source = \"{host}\"\n")), 0, "{file}: {host}");
            }
        }
    }

    #[test]
    fn a_path_of_one_machine_fails() {
        for path in MACHINE_PATHS {
            assert_eq!(count("a.toml", &format!("path = \"{path}x\"\n")), 1, "{path}");
            assert_eq!(count("a.md", &format!("~{path}x, a{path}x, $HOME{path}x\n")), 0, "{path}");
        }
    }
}
