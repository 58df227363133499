use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

/// The deepest nesting of tables and arrays.
const MAX_DEPTH: usize = 64;
/// The stack of who finds out. The parser has a limit of 80 for each form of nesting, dotted keys and inline tables, and none for
/// what they make together: some 6,500 levels, which it drops by recursion, a few KiB each in the worst build.
const STACK_BYTES: usize = 64 << 20;

/// Lines of all keys by key path, and the syntax errors with theirs.
type KeysAndErrors = (BTreeMap<String, usize>, Vec<(Option<usize>, String)>);

/// Where each key of a TOML document is. One that is nested too deep has an error, and must not be read by whoever has a usual
/// stack.
pub(super) fn of_keys(text: &str) -> KeysAndErrors {
    thread::scope(|scope| {
        let parser = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || parse(text));
        match parser.map(ScopedJoinHandle::join) {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => (BTreeMap::new(), vec![(None, format!("cannot be read: {error}"))]),
        }
    })
}

fn parse(text: &str) -> KeysAndErrors {
    let starts: Vec<usize> =
        std::iter::once(0).chain(text.match_indices('\n').map(|(offset, _)| offset + 1)).collect();
    let line = |offset: usize| starts.partition_point(|start| *start <= offset);
    let (document, errors) = DeTable::parse_recoverable(text);
    let told = |error: &Error| error.message().trim().replace('\n', "; ");
    let mut errors: Vec<_> = errors
        .iter()
        .map(|error| (error.span().map(|span| line(span.start)), told(error)))
        .collect();
    let mut lines = BTreeMap::new();
    let whole = of_table("", document.get_ref(), 1, &mut |path, offset| {
        lines.insert(path, line(offset));
    });
    if let Err(offset) = whole {
        errors.push((Some(line(offset)), format!("nested deeper than {MAX_DEPTH} tables and arrays")));
    }
    (lines, errors)
}

/// Tells the place of every key.
///
/// # Errors
/// The place of what lies deeper than anything may.
fn of_table(
    prefix: &str,
    table: &DeTable<'_>,
    depth: usize,
    put: &mut impl FnMut(String, usize),
) -> Result<(), usize> {
    for (key, value) in table {
        let path = match prefix {
            "" => key.get_ref().to_string(),
            _ => format!("{prefix}.{}", key.get_ref()),
        };
        put(path.clone(), key.span().start);
        of_value(&path, value, depth, put)?;
    }
    Ok(())
}

fn of_value(
    path: &str,
    value: &Spanned<DeValue<'_>>,
    depth: usize,
    put: &mut impl FnMut(String, usize),
) -> Result<(), usize> {
    match value.get_ref() {
        DeValue::Table(_) | DeValue::Array(_) if depth == MAX_DEPTH => Err(value.span().start),
        DeValue::Table(table) => of_table(path, table, depth + 1, put),
        DeValue::Array(array) => array.iter().enumerate().try_for_each(|(index, element)| {
            let path = format!("{path}[{index}]");
            put(path.clone(), element.span().start);
            of_value(&path, element, depth + 1, put)
        }),
        _ => Ok(()),
    }
}
