use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Lines of all keys by key path, and the syntax errors with theirs.
type KeysAndErrors = (BTreeMap<String, usize>, Vec<(Option<usize>, String)>);

/// Where each key of a TOML document is.
pub(super) fn of_keys(text: &str) -> KeysAndErrors {
    let starts: Vec<usize> =
        std::iter::once(0).chain(text.match_indices('\n').map(|(offset, _)| offset + 1)).collect();
    let line = |offset: usize| starts.partition_point(|start| *start <= offset);
    let (document, errors) = DeTable::parse_recoverable(text);
    let errors = errors
        .into_iter()
        .map(|error| {
            let message = error.message().trim().replace('\n', "; ");
            (error.span().map(|span| line(span.start)), message)
        })
        .collect();
    let mut lines = BTreeMap::new();
    of_table("", document.get_ref(), &mut |path, offset| {
        lines.insert(path, line(offset));
    });
    (lines, errors)
}

fn of_table(prefix: &str, table: &DeTable<'_>, put: &mut impl FnMut(String, usize)) {
    for (key, value) in table {
        let path = match prefix {
            "" => key.get_ref().to_string(),
            _ => format!("{prefix}.{}", key.get_ref()),
        };
        put(path.clone(), key.span().start);
        of_value(&path, value, put);
    }
}

fn of_value(path: &str, value: &Spanned<DeValue<'_>>, put: &mut impl FnMut(String, usize)) {
    match value.get_ref() {
        DeValue::Table(table) => of_table(path, table, put),
        DeValue::Array(array) => {
            for (index, element) in array.iter().enumerate() {
                let path = format!("{path}[{index}]");
                put(path.clone(), element.span().start);
                of_value(&path, element, put);
            }
        }
        _ => {}
    }
}
