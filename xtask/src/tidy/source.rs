//! Source files: their length, what `lib.rs` may hold, what may not be left behind, and where `unsafe` may be.

use super::{Fault, SourceFile};

/// The longest file that can still be read as one thing.
const MAX_LINES: usize = 500;

/// Marks a file that a program wrote; people read what it was made from.
const GENERATED: &str = "@generated";

/// The only crates that may allow `unsafe`, which is denied in the whole workspace.
const MAY_BE_UNSAFE: [&str; 1] = ["crates/onnx/"];

/// What is never committed. In pieces, so that this file doesn't hold the words it looks for.
const LEFT_BEHIND: [&str; 4] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Checks one file, if it is source.
pub(super) fn check(file: &SourceFile) -> Vec<Fault> {
    let is_rust = file.has_extension("rs");
    if !(is_rust || file.has_extension("py")) || is_generated(file) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        faults.push(Fault::in_file(&file.path, format!("{lines} lines, {MAX_LINES} is the limit: split it")));
    }
    faults.extend(left_behind(file));
    if is_rust {
        faults.extend(ignored_tests(file));
        faults.extend(allowed_unsafe(file));
        if file.path.ends_with("src/lib.rs") {
            faults.extend(crate_root(file));
        }
    }
    faults
}

fn is_generated(file: &SourceFile) -> bool {
    file.text.lines().take(5).any(|line| line.contains(GENERATED))
}

fn left_behind(file: &SourceFile) -> Vec<Fault> {
    let found = |line: &str| LEFT_BEHIND.iter().find(|word| holds_word(line, word)).copied();
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(i, line)| Some(Fault::at(&file.path, i, format!("{} is left behind", found(line)?))))
        .collect()
}

fn holds_word(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(joins) && !line[at + word.len()..].starts_with(joins))
}

fn ignored_tests(file: &SourceFile) -> Vec<Fault> {
    let bare = concat!("#[", "ignore]");
    let lines = file.text.lines().enumerate().filter(|(_, line)| line.contains(bare));
    lines
        .map(|(i, _)| Fault::at(&file.path, i, "an ignored test says why: `#[ignore = \"…\"]`"))
        .collect()
}

fn allowed_unsafe(file: &SourceFile) -> Vec<Fault> {
    if MAY_BE_UNSAFE.iter().any(|folder| file.path.starts_with(folder)) {
        return Vec::new();
    }
    let words = [
        concat!("allow(", "unsafe_code"),
        concat!("expect(", "unsafe_code"),
    ];
    let lines = file.text.lines().enumerate();
    let found = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
    let message = format!("unsafe code is for {} only", MAY_BE_UNSAFE.join(", "));
    found.map(|(i, _)| Fault::at(&file.path, i, message.clone())).collect()
}

/// `lib.rs` holds the crate's documentation, its modules and its re-exports.
fn crate_root(file: &SourceFile) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !file.text.starts_with("//!") {
        faults.push(Fault::at(&file.path, 0, "lib.rs begins with the crate's documentation (`//!`)"));
    }
    // Of an attribute or a `use` that goes on over several lines: what ends it.
    let mut until: Option<&str> = None;
    for (index, line) in file.text.lines().map(str::trim).enumerate() {
        if let Some(end) = until {
            if line.ends_with(end) {
                until = None;
            }
            continue;
        }
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        match item_end(line) {
            Some(end) if line.ends_with(end) => {}
            Some(end) => until = Some(end),
            None => faults.push(Fault::at(
                &file.path,
                index,
                "lib.rs holds only `mod` and `use`; move this to a file",
            )),
        }
    }
    faults
}

/// What the item that begins on this line ends with, if `lib.rs` may hold it.
fn item_end(line: &str) -> Option<&'static str> {
    if line.starts_with("#[") || line.starts_with("#![") {
        return Some("]");
    }
    // What the crate can't be built for stands where it is seen first.
    if line.starts_with("compile_error!(") {
        return Some(");");
    }
    let visible = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
    let is_module = visible.starts_with("mod ") && visible.ends_with(';');
    (is_module || visible.starts_with("use ")).then_some(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile { path: path.to_owned(), text: text.to_owned() })
            .iter()
            .map(Fault::to_string)
            .collect()
    }

    #[test]
    fn a_long_file_fails_unless_generated() {
        let long = "// line\n".repeat(MAX_LINES + 1);
        assert_eq!(messages("a/b.rs", &long), ["a/b.rs: 501 lines, 500 is the limit: split it"]);
        assert_eq!(messages("a/b.py", &"# line\n".repeat(501)).len(), 1);
        assert_eq!(messages("a/b.rs", &format!("// {GENERATED}\n{long}")).len(), 0);
        assert_eq!(messages("a/b.rs", &"// line\n".repeat(MAX_LINES)).len(), 0);
        assert_eq!(messages("a/b.json", &long).len(), 0);
    }

    #[test]
    fn what_is_left_behind_fails() {
        for word in LEFT_BEHIND {
            let text = format!("fn a() {{\n    {word} // later\n}}\n");
            assert_eq!(messages("a.rs", &text), [format!("a.rs:2: {word} is left behind")]);
        }
        assert_eq!(messages("a.rs", concat!("const A: &str = \"XX", "XXXX\";\n")).len(), 0);
    }

    #[test]
    fn an_ignored_test_without_a_reason_fails() {
        assert_eq!(messages("a.rs", concat!("#[test]\n#[", "ignore]\nfn a() {}\n")).len(), 1);
        assert_eq!(messages("a.rs", "#[test]\n#[ignore = \"needs a GPU\"]\nfn a() {}\n").len(), 0);
    }

    #[test]
    fn allowing_unsafe_outside_its_crate_fails() {
        let text = concat!("//! Docs.\n#![allow(", "unsafe_code)]\n");
        assert_eq!(messages("crates/http/src/lib.rs", text).len(), 1);
        assert_eq!(messages("crates/onnx/src/lib.rs", text).len(), 0);
    }

    #[test]
    fn a_crate_root_with_items_or_without_docs_fails() {
        let good = "//! Docs.\n#![cfg_attr(\n    test,\n    allow(x)\n)]\n\n// Why.\nmod a;\npub mod b;\n\
                    pub use a::{\n    A,\n    B,\n};\n#[cfg(test)]\nmod tests;\n\
                    #[cfg(x)]\ncompile_error!(\"no\");\n";
        assert_eq!(messages("crates/a/src/lib.rs", good).len(), 0);
        assert_eq!(messages("crates/a/src/lib.rs", "mod a;\n").len(), 1);
        for item in [
            "pub fn a() {}",
            "struct A;",
            "mod a {",
            "const A: u8 = 1;",
            "include!(\"a.rs\");",
        ] {
            let found = messages("crates/a/src/lib.rs", &format!("//! Docs.\n{item}\n"));
            assert_eq!(found.len(), 1, "{item}");
            assert!(found[0].starts_with("crates/a/src/lib.rs:2: "), "{item}");
        }
        assert_eq!(messages("crates/a/src/main.rs", "fn main() {}\n").len(), 0);
    }
}
