//! Strict reading of configuration files: every fault at once, each with its key path, its line and what was meant.
//!
//! Shared by model configurations and the server's own.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use toml::{Table, Value};

mod lines;

/// Most faults that one file is told. What comes after is a consequence, or an attack.
const MAX_FAULTS: usize = 100;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyFault {
    /// The key path, as `dynamic_batching.preferred_batch_size[1]`; empty for the whole file.
    pub key: String,
    /// The line in the file, counted from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong, lower-case.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl fmt::Display for KeyFault {
    /// `line LINE: KEY: MESSAGE; REMEDY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// The faults of one file, collected while it is read and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    list: Vec<KeyFault>,
    lines: BTreeMap<String, usize>,
}

impl Faults {
    /// Adds a fault of `key`.
    pub fn push(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.add(key.into(), message.into(), None);
    }

    /// Adds a fault of `key` with what to do about it.
    pub fn push_with_remedy(
        &mut self,
        key: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(key.into(), message.into(), Some(remedy.into()));
    }

    /// Adds a fault of `key` with what to do about it, if anything is known.
    pub fn push_with_hint(
        &mut self,
        key: impl Into<String>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.add(key.into(), message.into(), hint);
    }

    /// Adds a fault of the file itself, at a line.
    pub fn push_at_line(&mut self, line: Option<usize>, message: impl Into<String>, remedy: Option<String>) {
        self.list.push(KeyFault { key: String::new(), line, message: message.into(), remedy });
    }

    /// Adds an unknown key at a line, where its path is not known.
    pub(crate) fn push_key_at_line(&mut self, line: Option<usize>, key: &str, remedy: Option<String>) {
        let message = "unknown key".to_owned();
        self.list.push(KeyFault { key: key.to_owned(), line, message, remedy });
    }

    /// Whether no more faults are told.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MAX_FAULTS
    }

    /// A key that is at fault already is not blamed again: what follows is a consequence.
    fn add(&mut self, key: String, message: String, remedy: Option<String>) {
        let known = |fault: &KeyFault| !fault.key.is_empty() && covers(&fault.key, &key);
        if self.is_full() || self.list.iter().any(known) {
            return;
        }
        let line = self.line_of(&key);
        self.list.push(KeyFault { key, line, message, remedy });
    }

    /// The line of a key, or of the nearest table around it.
    fn line_of(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }

    /// Another collection, empty, that knows the lines of the same file.
    #[must_use]
    pub fn same_file(&self) -> Self {
        Self { list: Vec::new(), lines: self.lines.clone() }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The faults by line, those without one last, in the order they were found.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<KeyFault> {
        self.list.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
        self.list
    }
}

/// Whether `key` is `fault` or lies within it.
fn covers(fault: &str, key: &str) -> bool {
    key.strip_prefix(fault)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Reads a TOML document into `T`, which should `deny_unknown_fields` and default what is absent.
///
/// Never fails: what cannot be read is a fault and keeps its default, so that the rest can be checked too.
pub fn read_toml<T: DeserializeOwned + Default>(text: &str) -> (T, Faults) {
    let (lines, syntax) = lines::of_keys(text);
    let mut faults = Faults { list: Vec::new(), lines };
    for (line, message) in syntax.into_iter().take(MAX_FAULTS) {
        faults.push_at_line(line, message, None);
    }
    if !faults.is_empty() {
        return (T::default(), faults);
    }
    match toml::from_str::<Table>(text) {
        Ok(table) => (read_table(table, &mut faults), faults),
        Err(error) => {
            faults.push_at_line(None, error.message(), None);
            (T::default(), faults)
        }
    }
}

/// Reads a table into `T`, as [`read_toml`] does a document.
///
/// serde stops at the first fault. So the key that is at fault is taken out and the rest read again, until it is clean.
pub fn read_table<T: DeserializeOwned + Default>(mut table: Table, faults: &mut Faults) -> T {
    for _ in 0..MAX_FAULTS {
        let error = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
            Ok(read) => return read,
            Err(error) => error,
        };
        let path = error.path().clone();
        let (message, remedy) = explain(error.inner().message());
        let removed = remove(&mut table, &path);
        faults.add(path_text(&path), message, remedy);
        if !removed {
            break;
        }
    }
    T::default()
}

fn path_text(path: &Path) -> String {
    match path.iter().next() {
        None => String::new(),
        Some(_) => path.to_string(),
    }
}

/// serde's message in the house's words, and the near miss of an unknown key.
fn explain(message: &str) -> (String, Option<String>) {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return (message.trim().replace('\n', "; "), None);
    };
    let mut quoted = rest.split('`').step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    ("unknown key".to_owned(), near_miss(unknown, known))
}

/// `did you mean …?` for the nearest of `known`, where one is near.
pub fn near_miss<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_ascii_lowercase();
    let score = |candidate: &str| {
        let candidate = candidate.to_ascii_lowercase();
        let part = word.len() >= 3 && candidate.contains(&word);
        if part { 1.0 } else { strsim::jaro_winkler(&word, &candidate) }
    };
    let best = known
        .into_iter()
        .map(|candidate| (score(candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.8).then(|| format!("did you mean {}?", best.1))
}

/// Takes out what `path` leads to; of an array the whole, so that no index moves. Tells whether anything was there.
fn remove(table: &mut Table, path: &Path) -> bool {
    let mut segments: Vec<&Segment> = path.iter().collect();
    while matches!(segments.last(), Some(segment) if !matches!(segment, Segment::Map { .. })) {
        segments.pop();
    }
    let Some((Segment::Map { key: last }, parents)) = segments.split_last() else {
        return false;
    };
    let mut parents = parents.iter();
    let mut current = match parents.next() {
        None => return table.remove(last).is_some(),
        Some(Segment::Map { key }) => table.get_mut(key),
        Some(_) => None,
    };
    for segment in parents {
        current = match (segment, current) {
            (Segment::Map { key }, Some(Value::Table(table))) => table.get_mut(key),
            (Segment::Seq { index }, Some(Value::Array(array))) => array.get_mut(*index),
            _ => None,
        };
    }
    match current {
        Some(Value::Table(table)) => table.remove(last).is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
