//! Manifests: one declaration per dependency with the reason it is there, and lints inherited.

use super::{Fault, SourceFile};

/// Checks the root manifest and each crate's.
pub(super) fn check(files: &[SourceFile]) -> Vec<Fault> {
    let manifests = files
        .iter()
        .filter(|file| file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml"))
        // The fuzz targets are a workspace of their own, with nothing to inherit from.
        .filter(|file| file.path == "Cargo.toml" || !file.text.lines().any(|line| line == "[workspace]"));
    let rule = |file: &SourceFile| {
        if file.path == "Cargo.toml" { reasons(file) } else { inheritance(file) }
    };
    manifests.flat_map(rule).collect()
}

/// Each dependency of the workspace has a comment that says why it is there.
fn reasons(file: &SourceFile) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    let mut inside = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.trim() == "[workspace.dependencies]";
        }
        if !inside {
            continue;
        }
        if let Some((name, value)) = entry(line) {
            faults.extend(open.take().map(|(at, name)| unexplained(file, at, name)));
            // Our own crates explain themselves.
            open = (!value.contains("path =")).then_some((index, name));
        }
        if comment(line).is_some_and(|reason| !reason.is_empty()) && !line.starts_with('#') {
            open = None;
        }
    }
    faults.extend(open.map(|(at, name)| unexplained(file, at, name)));
    faults
}

fn unexplained(file: &SourceFile, index: usize, name: &str) -> Fault {
    Fault::at(&file.path, index, format!("{name} has no comment that says why it is a dependency"))
}

/// `name = value` at the start of a line.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let is_key = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    is_key.then_some((name, value))
}

/// What follows the first `#` outside of quotes.
fn comment(line: &str) -> Option<&str> {
    let mut quoted = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'#' if !quoted => return Some(line[at + 1..].trim()),
            _ => {}
        }
    }
    None
}

/// A crate inherits the lints and every dependency, so that both are decided in one place.
fn inheritance(file: &SourceFile) -> Vec<Fault> {
    let table: toml::Table = match file.text.parse() {
        Ok(table) => table,
        Err(error) => return vec![Fault::in_file(&file.path, error.to_string())],
    };
    let inherits = |value: Option<&toml::Value>| {
        value.and_then(|v| v.get("workspace")).and_then(toml::Value::as_bool).unwrap_or(false)
    };
    if table.contains_key("workspace") {
        // A workspace of its own has nothing to inherit.
        return Vec::new();
    }
    let mut faults = Vec::new();
    if !inherits(table.get("lints")) {
        faults.push(Fault::in_file(&file.path, "does not inherit the workspace's lints"));
    }
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    for (name, value) in kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()).flatten() {
        if !inherits(Some(value)) {
            faults
                .push(Fault::in_file(&file.path, format!("{name} is not declared with `workspace = true`")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
        check(&[file]).iter().map(Fault::to_string).collect()
    }

    #[test]
    fn a_dependency_without_a_reason_fails() {
        let text = "[workspace.dependencies]\n# Data\nadulis = { path = \"crates/adulis\" }\nbytes = \"1\" # buffers\n\
                    serde = { version = \"1\", features = [\n  \"derive\",\n] } # JSON\nhalf = \"2#2\"\n\nrand = \"1\"\n\
                    [profile.dev]\ndebug = 1\n";
        let found = messages("Cargo.toml", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("Cargo.toml:8: half ") && found[1].starts_with("Cargo.toml:10: rand "));
    }

    #[test]
    fn a_crate_that_does_not_inherit_fails() {
        let good =
            "[lints]\nworkspace = true\n[dependencies]\na.workspace = true\nb = { workspace = true }\n";
        assert_eq!(messages("crates/a/Cargo.toml", good).len(), 0);
        assert_eq!(messages("fuzz/Cargo.toml", "[workspace]\n[dependencies]\nb = \"1\"\n").len(), 0);
        let lints = messages("crates/a/Cargo.toml", "[dependencies]\na.workspace = true\n");
        assert_eq!(lints, ["crates/a/Cargo.toml: does not inherit the workspace's lints"]);
        let version =
            messages("crates/a/Cargo.toml", "[lints]\nworkspace = true\n[dev-dependencies]\nb = \"1\"\n");
        assert_eq!(messages("fuzz/Cargo.toml", "[workspace]\n[dependencies]\nb = \"1\"\n").len(), 0);
        assert_eq!(version, ["crates/a/Cargo.toml: b is not declared with `workspace = true`"]);
    }
}
