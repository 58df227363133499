use std::collections::BTreeMap;

use adulis_tensor::DataType;
use serde::Deserialize;
use serde_json::Value;

use crate::sql::is_identifier;

/// Columns of one lookup.
const MAX_COLUMNS: usize = 512;
/// Longest key of a hash without its id, and longest name of a field, in bytes.
const MAX_NAME_BYTES: usize = 1024;
/// How the names begin of tables that are the server's own, and of those, or schemas, in which databases keep what they know of
/// themselves.
const KEPT: [&str; 5] = ["adulis_", "sqlite_", "pragma_", "pg_", "information_schema"];
/// What stands for the id in the key of a hash.
const ID: char = '*';

/// Where some inputs of a model come from. In a model's configuration, one of them or a list of them:
///
/// ```json
/// {"key": "customer_id", "datatype": "INT64", "table": "customers", "key_column": "id",
///  "inputs": {"features": ["age", "balance"], "segment": "segment"},
///  "defaults": {"balance": 0, "segment": "none"}, "missing": "error", "ttl_seconds": 30}
/// ```
///
/// or, for hashes in Redis, with `"hash": "customer:*"` in the place of the table and its column; columns are fields then.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupConfig {
    /// The input that clients send instead: ids, one for each row.
    pub key: String,
    /// Its datatype: `BYTES`, or one of whole numbers.
    #[serde(default = "bytes")]
    pub datatype: String,
    /// The table, or `schema.table`.
    pub table: Option<String>,
    /// The column of the table that ids are looked for in; left out, it is called as the key.
    pub key_column: Option<String>,
    /// In the place of a table: the key of an entity's hash in Redis, with `*` for the id.
    pub hash: Option<String>,
    /// The model's inputs, each with the column or columns, or fields of the hash, that make up a row of it.
    pub inputs: BTreeMap<String, Columns>,
    /// What stands in for a column that is NULL or a field that is missing, and for all of them where nothing is known of an id
    /// and `missing` says so.
    #[serde(default)]
    pub defaults: BTreeMap<String, Value>,
    /// What happens to an id of which nothing is known.
    #[serde(default)]
    pub missing: Missing,
    /// How long a row that was read may be used again; 0: not at all.
    #[serde(default)]
    pub ttl_seconds: u32,
}

/// Where the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// In a table.
    Table { table: &'a str, key_column: &'a str },
    /// In hashes in Redis, whose keys are an id with this before and behind it.
    Hash { before: &'a str, after: &'a str },
}

/// A column or field, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Columns {
    /// One.
    One(String),
    /// Several, in the order of the input's elements.
    Several(Vec<String>),
}

/// What happens to an id of which nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The request is refused, with the id.
    #[default]
    Error,
    /// The columns have their defaults.
    Default,
}

fn bytes() -> String {
    DataType::Bytes.as_str().to_owned()
}

impl Columns {
    /// All of them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl LookupConfig {
    /// Where the rows are, with names that are checked.
    pub(crate) fn place(&self) -> Result<Place<'_>, String> {
        match (&self.table, &self.hash) {
            (Some(table), None) => self.in_table(table),
            (None, Some(pattern)) => self.in_hash(pattern),
            _ => Err("expected a \"table\" or a \"hash\", one of them".to_owned()),
        }
    }

    fn in_table<'a>(&'a self, table: &'a str) -> Result<Place<'a>, String> {
        // The key's own name is a column's where none is named.
        let key_column = self.key_column.as_ref().unwrap_or(&self.key);
        for name in std::iter::once(key_column).chain(self.columns()) {
            if !is_identifier(name) {
                return Err(format!("{name:?} is no column's name: expected letters, digits and _"));
            }
        }
        let parts: Vec<&str> = table.split('.').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_identifier(part)) {
            return Err(format!("{table:?} is no table's name: expected TABLE or SCHEMA.TABLE"));
        }
        if let Some(part) = parts.iter().find(|part| is_kept(part)) {
            return Err(format!(
                "{table:?} is not looked up in: names like {part:?} are the server's own and the database's"
            ));
        }
        Ok(Place::Table { table, key_column })
    }

    fn in_hash<'a>(&'a self, pattern: &'a str) -> Result<Place<'a>, String> {
        let parts = pattern.split_once(ID).filter(|(_, after)| !after.contains(ID));
        let (before, after) = parts.filter(|_| pattern.len() <= MAX_NAME_BYTES).ok_or_else(|| {
            format!("{pattern:?} is no key of a hash with one {ID} for the id: for example \"customer:{ID}\"")
        })?;
        if let Some(column) = &self.key_column {
            return Err(format!(
                "key_column {column:?} is a table's: the id is in the key of the hash, {pattern:?}"
            ));
        }
        let is_field = |name: &&String| (1..=MAX_NAME_BYTES).contains(&name.len());
        if let Some(name) = self.columns().find(|name| !is_field(name)) {
            return Err(format!("{name:?} is no field's name: expected 1 to {MAX_NAME_BYTES} bytes"));
        }
        Ok(Place::Hash { before, after })
    }

    /// All columns of all inputs.
    fn columns(&self) -> impl Iterator<Item = &String> {
        self.inputs.values().flat_map(Columns::names)
    }
}

/// Whether tables or schemas of this name hold what is no model's: keys and what others sent, or what the database knows of
/// itself.
fn is_kept(name: &str) -> bool {
    // SQLite takes names in any case.
    let name = name.to_ascii_lowercase();
    KEPT.iter().any(|kept| name.starts_with(kept))
}

/// Reads the lookups of a model: an object or a list of objects.
pub(crate) fn parse(text: &str) -> Result<Vec<LookupConfig>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let objects = match value {
        Value::Array(objects) => objects,
        object => vec![object],
    };
    let read = |object| {
        let config: LookupConfig = serde_json::from_value(object).map_err(|error| error.to_string())?;
        check(&config)?;
        Ok(config)
    };
    objects.into_iter().map(read).collect()
}

fn check(config: &LookupConfig) -> Result<(), String> {
    config.place()?;
    let columns = || config.columns();
    if let Some((input, _)) = config.inputs.iter().find(|(_, columns)| columns.names().is_empty()) {
        return Err(format!("input {input:?} has no columns"));
    }
    let count = columns().count();
    if !(1..=MAX_COLUMNS).contains(&count) {
        return Err(format!("expected 1 to {MAX_COLUMNS} columns, got {count}"));
    }
    if let Some(name) = config.defaults.keys().find(|name| !columns().any(|column| column == *name)) {
        return Err(format!("{name:?} has a default and is no column of an input"));
    }
    let without_default = columns().find(|column| !config.defaults.contains_key(*column));
    if let Some(column) = without_default.filter(|_| config.missing == Missing::Default) {
        return Err(format!("column {column:?} has no default, which missing rows are to have"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_several_are_read() {
        let one = r#"{"key": "id", "table": "crm.customers", "inputs": {"x": "age", "y": ["a", "b"]}}"#;
        let config = parse(one).unwrap();
        assert_eq!((config.len(), &*config[0].datatype, config[0].missing), (1, "BYTES", Missing::Error));
        assert_eq!(config[0].inputs["y"].names(), ["a", "b"]);
        assert_eq!(parse(&format!("[{one}, {one}]")).unwrap().len(), 2);
        assert_eq!(config[0].place(), Ok(Place::Table { table: "crm.customers", key_column: "id" }));
        let hash = r#"{"key": "an id", "hash": "c:{*}:now", "inputs": {"x": "how old?"}}"#;
        assert_eq!(parse(hash).unwrap()[0].place(), Ok(Place::Hash { before: "c:{", after: "}:now" }));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_name() {
        for (text, expected) in [
            ("{", "EOF"),
            (r#"{"key": "id", "table": "t", "inputs": {"x": "a"}, "tll": 1}"#, "tll"),
            (r#"{"key": "id", "table": "t", "inputs": {}}"#, "1 to 512 columns"),
            (r#"{"key": "id", "table": "t", "inputs": {"x": []}}"#, "\"x\" has no columns"),
            (r#"{"key": "id", "table": "a.b.c", "inputs": {"x": "a"}}"#, "a.b.c"),
            (r#"{"key": "id", "table": "t; DROP TABLE t", "inputs": {"x": "a"}}"#, "no table's name"),
            (r#"{"key": "id", "table": "t", "inputs": {"x": "a\" OR \"b"}}"#, "no column's name"),
            (r#"{"key": "an id", "table": "t", "inputs": {"x": "a"}}"#, "\"an id\""),
            (
                r#"{"key": "id", "table": "adulis_inference_log", "inputs": {"x": "inputs"}}"#,
                "not looked up in",
            ),
            (
                r#"{"key": "id", "table": "main.Adulis_API_keys", "inputs": {"x": "a"}}"#,
                "\"Adulis_API_keys\"",
            ),
            (r#"{"key": "id", "table": "sqlite_master", "inputs": {"x": "sql"}}"#, "not looked up in"),
            (r#"{"key": "id", "table": "pg_authid", "inputs": {"x": "a"}}"#, "not looked up in"),
            (r#"{"key": "id", "table": "pg_catalog.anything", "inputs": {"x": "a"}}"#, "\"pg_catalog\""),
            (
                r#"{"key": "id", "table": "information_schema.tables", "inputs": {"x": "a"}}"#,
                "\"information_schema\"",
            ),
            (
                r#"{"key": "id", "table": "t", "key_column": "", "inputs": {"x": "a"}}"#,
                "no column's name",
            ),
            (r#"{"key": "id", "table": "t", "inputs": {"x": "a"}, "defaults": {"b": 1}}"#, "\"b\""),
            (r#"{"key": "id", "table": "t", "inputs": {"x": "a"}, "missing": "default"}"#, "no default"),
            (r#"{"key": "id", "inputs": {"x": "a"}}"#, "expected a \"table\" or a \"hash\""),
            (r#"{"key": "id", "table": "t", "hash": "t:*", "inputs": {"x": "a"}}"#, "one of them"),
            (r#"{"key": "id", "hash": "t:", "inputs": {"x": "a"}}"#, "with one * for the id"),
            (r#"{"key": "id", "hash": "*:*", "inputs": {"x": "a"}}"#, "with one * for the id"),
            (r#"{"key": "id", "hash": "t:*", "inputs": {"x": ""}}"#, "no field's name"),
            (
                r#"{"key": "id", "hash": "t:*", "key_column": "id", "inputs": {"x": "a"}}"#,
                "is a table's",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
