//! Documents: the ones every reader looks for are there, and relative links lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::{Fault, SourceFile};

/// Documents at the root that people and tools expect.
const EXPECTED: [&str; 4] = ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "SECURITY.md"];

/// Checks the presence of documents and every relative link in Markdown.
pub(super) fn check(root: &Path, files: &[SourceFile]) -> Vec<Fault> {
    let mut faults = missing(files);
    let exists = |path: &Path| root.join(path).exists();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        faults.extend(dead_links(file, files, exists));
    }
    faults
}

fn missing(files: &[SourceFile]) -> Vec<Fault> {
    let absent = EXPECTED.iter().filter(|name| !files.iter().any(|file| file.path == **name));
    absent.map(|name| Fault::in_file(name, "is missing")).collect()
}

fn dead_links(file: &SourceFile, files: &[SourceFile], exists: impl Fn(&Path) -> bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, target) in links(&file.text) {
        let (path, anchor) =
            target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
        let to = resolve(&file.path, path);
        if !exists(&to) {
            faults.push(Fault::at(&file.path, index, format!("the link to {target} leads nowhere")));
            continue;
        }
        let document = files.iter().find(|other| other.has_extension("md") && Path::new(&other.path) == to);
        if let (Some(document), Some(anchor)) = (document, anchor)
            && !headings(&document.text).any(|heading| slug(heading) == anchor)
        {
            faults.push(Fault::at(&file.path, index, format!("the link to {target} names no heading")));
        }
    }
    faults
}

/// Lines and targets of relative links, outside of code.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let elsewhere = |target: &str| target.contains(':') || target.starts_with('<') || target.is_empty();
    prose(text)
        .flat_map(|(index, line)| {
            let ends = line.split("](").skip(1);
            ends.filter_map(move |rest| Some((index, rest.split_once(')')?.0.split(' ').next()?)))
        })
        .filter(move |(_, target)| !elsewhere(target))
}

/// Numbered lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn headings(text: &str) -> impl Iterator<Item = &str> {
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| line.trim_start_matches('#').trim())
}

/// A heading's anchor, as the usual Markdown renderers make it.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// A link's target relative to the root; an empty one is the document itself.
fn resolve(from: &str, target: &str) -> PathBuf {
    if target.is_empty() {
        return PathBuf::from(from);
    }
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    let mut resolved = PathBuf::new();
    for part in folder.join(target).components() {
        match part {
            Component::ParentDir if resolved.pop() => {}
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn dead(text: &str) -> Vec<String> {
        let files = [
            file("docs/a.md", text),
            file("README.md", "# Two commands, one clone\n"),
        ];
        let exists = |path: &Path| files.iter().any(|file| Path::new(&file.path) == path);
        dead_links(&files[0], &files, exists).iter().map(Fault::to_string).collect()
    }

    #[test]
    fn a_link_to_a_missing_file_fails() {
        let text = "[a](a.md) [r](../README.md \"title\") [web](https://example.com/x.md)\n[b](b.md)\n";
        assert_eq!(dead(text), ["docs/a.md:2: the link to b.md leads nowhere"]);
        assert_eq!(dead("![image](../../outside.png)\n").len(), 1);
    }

    #[test]
    fn a_link_to_a_missing_heading_fails() {
        assert_eq!(dead("[r](../README.md#two-commands-one-clone)\n# Here\n[h](#here)\n").len(), 0);
        assert_eq!(
            dead("[r](../README.md#three)\n"),
            ["docs/a.md:1: the link to ../README.md#three names no heading"]
        );
        assert_eq!(dead("[h](#nowhere)\n").len(), 1);
    }

    #[test]
    fn code_is_not_read_for_links() {
        assert_eq!(dead("```rust\nlet x = a[0](missing.md);\n```\n").len(), 0);
    }

    #[test]
    fn a_missing_document_fails() {
        let found = missing(&[file("CHANGELOG.md", ""), file("docs/LICENSE", "")]);
        let paths: Vec<&str> = found.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["CONTRIBUTING.md", "LICENSE", "SECURITY.md"]);
    }
}
