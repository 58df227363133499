use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Outer {
    port: u16,
    name: Option<String>,
    inner: Inner,
    list: Vec<Inner>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Inner {
    threads: usize,
    sizes: Vec<i64>,
}

fn faults(text: &str) -> Vec<String> {
    let (_, faults) = read_toml::<Outer>(text);
    faults.into_vec().iter().map(ToString::to_string).collect()
}

#[test]
fn reads_a_clean_document() {
    let (read, faults) = read_toml::<Outer>("port = 3\n[inner]\nthreads = 2\n[[list]]\nsizes = [1]\n");
    assert!(faults.is_empty());
    assert_eq!((read.port, read.inner.threads, read.list[0].sizes[0]), (3, 2, 1));
}

#[test]
fn tells_every_fault_at_once_with_path_and_line() {
    let text = "prot = 3\nname = 4\n[inner]\nthread = 1\nsizes = [1, 'x']\n[[list]]\nthreads = -1\n[[list]]\nszies = 2\n";
    let mut told = faults(text);
    told.sort();
    assert_eq!(
        told,
        [
            "line 1: prot: unknown key; did you mean port?",
            "line 2: name: invalid type: integer `4`, expected a string",
            "line 4: inner.thread: unknown key; did you mean threads?",
            "line 5: inner.sizes[1]: invalid type: string \"x\", expected i64",
            "line 7: list[0].threads: invalid value: integer `-1`, expected usize",
            "line 9: list[1].szies: unknown key; did you mean sizes?",
        ]
    );
}

#[test]
fn keeps_what_is_right_beside_what_is_wrong() {
    let (read, faults) = read_toml::<Outer>("port = 7\nname = 4\n");
    assert_eq!(read.port, 7);
    assert_eq!(faults.into_vec().len(), 1);
}

#[test]
fn tells_every_syntax_error_with_its_line() {
    let told = faults("port = = 3\nname = 'a'\nlist = [1\n");
    assert!(told.len() >= 2, "{told:?}");
    assert!(told[0].starts_with("line 1: "), "{told:?}");
}

#[test]
fn does_not_blame_a_consequence() {
    let (_, mut faults) = read_toml::<Outer>("[inner]\nsizes = 'x'\n");
    faults.push("inner.sizes[0]", "must be positive");
    faults.push("inner.sizes_total", "must be positive");
    let keys: Vec<_> = faults.into_vec().into_iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["inner.sizes_total", "inner.sizes"]);
}

#[test]
fn is_bounded() {
    use std::fmt::Write as _;

    let mut text = String::new();
    for index in 0..5_000 {
        writeln!(text, "unknown_{index} = 1").unwrap();
    }
    assert_eq!(faults(&text).len(), MAX_FAULTS);
    assert!(!faults(&format!("inner = {}1{}", "[".repeat(100_000), "]".repeat(100_000))).is_empty());
}

/// Each form of nesting has a limit in the parser, but what they make together has none: it used up the stack.
#[test]
fn keys_nested_within_tables_without_end_are_refused() {
    let keys = vec!["a"; 79].join(".");
    let nested = |tables: usize| {
        format!("{keys} = {}1{}", format!("{{ {keys} = ").repeat(tables), " }".repeat(tables))
    };
    for tables in [0, 1, 70] {
        assert_eq!(faults(&nested(tables)), ["line 1: nested deeper than 64 tables and arrays"]);
    }
    // What is there twice is dropped by the parser itself.
    assert!(!faults(&format!("{0}{0}", nested(70) + "\n")).is_empty());
    let keys = vec!["a"; 64].join(".");
    assert_eq!(faults(&format!("{keys} = 1")), ["line 1: a: unknown key"]);
    assert_eq!(faults(&format!("{keys} = [1]")), ["line 1: nested deeper than 64 tables and arrays"]);
}

#[test]
fn suggests_only_what_is_near() {
    assert_eq!(near_miss("HTTP", ["http", "grpc"]).as_deref(), Some("did you mean http?"));
    assert_eq!(near_miss("zebra", ["http", "grpc"]), None);
    assert_eq!(near_miss("x", []), None);
}
