//! Documents that name a test as evidence name one that is there: `test_x.py::test_name` in `conformance`, or
//! `crates/…/file.rs::name`. Each row of a table of faults names one.

use super::{Fault, SourceFile};

/// Checks each test that a document names.
pub(super) fn check(files: &[SourceFile]) -> Vec<Fault> {
    let documents = files.iter().filter(|file| file.has_extension("md"));
    documents
        .flat_map(|document| missing(document, files).into_iter().chain(unproven(document)))
        .collect()
}

/// The heading above a table of faults.
const FAULTS: &str = "## Faults";

/// The rows of a table of faults that name no test.
fn unproven(document: &SourceFile) -> Vec<Fault> {
    let lines = document.text.lines().enumerate().skip_while(|(_, line)| *line != FAULTS).skip(1);
    let section = lines.take_while(|(_, line)| !line.starts_with("## "));
    // The first two rows of a table are its head and a line.
    let rows = section.filter(|(_, line)| line.starts_with('|')).skip(2);
    rows.filter(|(_, line)| named(line).next().is_none())
        .map(|(index, _)| {
            Fault::at(&document.path, index, "a fault without a test that shows what comes of it")
        })
        .collect()
}

fn missing(document: &SourceFile, files: &[SourceFile]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in document.text.lines().enumerate() {
        for (path, test) in named(line) {
            let path = if path.starts_with("test_") {
                format!("conformance/{path}")
            } else {
                path.to_owned()
            };
            match files.iter().find(|file| file.path == path) {
                None => faults.push(Fault::at(&document.path, index, format!("no file {path} has tests"))),
                Some(file) if defines(&file.text, test) => {}
                Some(_) => {
                    faults.push(Fault::at(&document.path, index, format!("{path} has no test {test}")));
                }
            }
        }
    }
    faults
}

/// The tests that a line names, each with its file.
fn named(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let code = line.split('`').skip(1).step_by(2);
    code.filter_map(|code| code.split_once("::"))
        .filter(|(path, _)| path.ends_with(".py") || path.ends_with(".rs"))
}

fn defines(text: &str, test: &str) -> bool {
    ["fn ", "def "].iter().any(|keyword| text.contains(&format!("{keyword}{test}(")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(document: &str) -> Vec<String> {
        let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
        let files = [
            file("docs/a.md", document),
            file("conformance/test_a.py", "async def test_one(server: Server) -> None:\n"),
            file("crates/a/tests/b.rs", "#[test]\nfn two() {}\n"),
        ];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_test_that_is_not_there_fails() {
        assert_eq!(faults("| x | `test_a.py::test_one`, `crates/a/tests/b.rs::two` | `a::b` |").len(), 0);
        assert_eq!(
            faults("\n`test_a.py::test_on` `crates/a/tests/c.rs::two`"),
            [
                "docs/a.md:2: conformance/test_a.py has no test test_on",
                "docs/a.md:2: no file crates/a/tests/c.rs has tests"
            ]
        );
    }

    #[test]
    fn a_fault_without_a_test_fails() {
        let table = |row: &str| {
            format!("## Faults\n\nText.\n\n| what | test |\n| --- | --- |\n{row}\n\n## More\n\n| x |\n")
        };
        assert_eq!(faults(&table("| a kill | `crates/a/tests/b.rs::two` |")).len(), 0);
        assert_eq!(
            faults(&table("| a kill | `two` |")),
            ["docs/a.md:7: a fault without a test that shows what comes of it"]
        );
    }
}
