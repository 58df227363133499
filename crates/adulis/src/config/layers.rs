use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use adulis_repository::strict::{Faults, near_miss, read_table, read_toml};
use toml::{Table, Value};

use super::Config;
use super::check::check;
use super::keys::{KEYS, Key, Kind, OTHER_VARIABLES, PLATFORM_VARIABLES};
use super::raw::RawConfig;
use crate::repositories::split_list;

/// Longest configuration file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The file that is read where none is named.
const DEFAULT_FILE: &str = "adulis.toml";

/// Where settings come from, weakest first: the defaults, a file, the environment, flags.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The file that was named; it must be there. `None`: `adulis.toml` in `folder`, if it is there.
    pub file: Option<PathBuf>,
    /// The folder that relative names start from.
    pub folder: PathBuf,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags: key path, value and the flag's name. Later ones win.
    pub flags: Vec<(String, Value, String)>,
}

/// A configuration and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What is odd and stops nothing, such as a variable that looks misspelt.
    pub notes: Vec<String>,
}

/// Where a faulty setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The defaults, or several at once.
    Together,
    /// A file, at a line where it is known.
    File(PathBuf, Option<usize>),
    /// A variable of the environment.
    Variable(String),
    /// A flag.
    Flag(String),
}

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where the setting comes from.
    pub source: Source,
    /// Its key path; empty for a file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl fmt::Display for ConfigFault {
    /// `SOURCE: KEY: MESSAGE; REMEDY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Together => {}
            Source::File(path, None) => write!(f, "{}: ", path.display())?,
            Source::File(path, Some(line)) => write!(f, "{}: line {line}: ", path.display())?,
            Source::Variable(name) => write!(f, "environment {name}: ")?,
            Source::Flag(name) => write!(f, "{name}: ")?,
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

/// Everything that is wrong with the configuration. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigFault>);

impl fmt::Display for ConfigErrors {
    /// One line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl Layers {
    /// The configuration that the layers make together.
    ///
    /// # Errors
    /// Everything that is wrong, in all layers at once.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        let mut merge = Merge::default();
        let file = self.read_file(&mut merge);
        let notes = self.read_environment(&mut merge);
        for (path, value, flag) in &self.flags {
            merge.set(path, value.clone(), Source::Flag(flag.clone()));
        }
        let raw: RawConfig = read_table(merge.table, &mut merge.faults);
        let config = check(&raw, &mut merge.faults);
        let mut faults = merge.found;
        let file_source = |line| file.clone().map_or(Source::Together, |file| Source::File(file, line));
        faults.extend(merge.faults.into_vec().into_iter().map(|fault| ConfigFault {
            source: match source_of(&merge.sources, &fault.key) {
                Some(source) => source,
                None if fault.line.is_none() && !fault.key.is_empty() => Source::Together,
                None => file_source(fault.line),
            },
            key: fault.key,
            message: fault.message,
            remedy: fault.remedy,
        }));
        if faults.is_empty() {
            return Ok(Loaded { config, file, notes });
        }
        Err(ConfigErrors(faults))
    }

    fn read_file(&self, merge: &mut Merge) -> Option<PathBuf> {
        let path = match &self.file {
            Some(file) => self.folder.join(file),
            None => Some(self.folder.join(DEFAULT_FILE)).filter(|path| path.exists())?,
        };
        match read_bounded(&path) {
            Ok(text) => (merge.table, merge.faults) = read_toml(&text),
            Err(error) => merge.found.push(ConfigFault {
                source: Source::File(path.clone(), None),
                key: String::new(),
                message: format!("cannot be read: {error}"),
                remedy: None,
            }),
        }
        Some(path)
    }

    /// Takes the variables that are keys; what is like one and is none is noted. Others may be there: Kubernetes makes
    /// some for a service that is named `adulis`.
    fn read_environment(&self, merge: &mut Merge) -> Vec<String> {
        for (name, value) in &self.environment {
            let ours = PLATFORM_VARIABLES.iter().find(|(platform, _)| name == platform);
            if let Some(key) = ours.and_then(|(_, ours)| KEYS.iter().find(|key| key.variable == *ours)) {
                read_variable(merge, key, name, value);
            }
        }
        let mut notes = Vec::new();
        for (name, value) in &self.environment {
            if let Some(key) = KEYS.iter().find(|key| name == key.variable) {
                read_variable(merge, key, name, value);
            } else {
                notes.extend(name.to_str().and_then(hint));
            }
        }
        notes
    }
}

fn read_variable(merge: &mut Merge, key: &Key, name: &OsStr, value: &OsStr) {
    let source = Source::Variable(name.to_string_lossy().into_owned());
    match value.to_str().map(|text| from_text(key, text)) {
        Some(Ok(None)) => {}
        Some(Ok(Some(value))) => merge.set(key.path, value, source),
        Some(Err(message)) => merge.found.push(variable_fault(source, key, message)),
        None => merge.found.push(variable_fault(source, key, "is not valid UTF-8")),
    }
}

/// What to say about a variable that is no key, if it is like one.
fn hint(name: &str) -> Option<String> {
    if !name.starts_with("ADULIS_") || OTHER_VARIABLES.contains(&name) || !is_misspelt(name) {
        return None;
    }
    let hint = near_miss(name, KEYS.iter().map(|key| key.variable))?;
    Some(format!("environment {name}: is not known; {hint}"))
}

fn variable_fault(source: Source, key: &Key, message: &str) -> ConfigFault {
    ConfigFault { source, key: key.path.to_owned(), message: message.to_owned(), remedy: None }
}

/// Whether a variable differs by a slip or two from one that is known.
fn is_misspelt(name: &str) -> bool {
    KEYS.iter().any(|key| strsim::damerau_levenshtein(key.variable, name) <= 2)
}

/// A variable's text as the value it stands for. Empty: not set.
fn from_text(key: &Key, text: &str) -> Result<Option<Value>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let value = match key.kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::Number => {
            let number = text.trim().parse().map_err(|_| "expected a whole number")?;
            Value::Integer(number)
        }
        Kind::Share => Value::Float(text.trim().parse().map_err(|_| "expected a number")?),
        Kind::Flag => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Value::Boolean(true),
            "false" | "0" | "off" | "no" => Value::Boolean(false),
            _ => return Err("expected true or false"),
        },
        Kind::List => {
            let items = text.split(',').map(str::trim);
            items.map(|item| Value::String(item.to_owned())).collect::<Vec<_>>().into()
        }
        Kind::Paths => split_list(text).into_iter().map(Value::String).collect::<Vec<_>>().into(),
    };
    Ok(Some(value))
}

/// The layers, put together.
#[derive(Default)]
struct Merge {
    table: Table,
    /// Faults by key, which know the file's lines.
    faults: Faults,
    /// Where what is not from the file comes from, by key.
    sources: BTreeMap<String, Source>,
    /// Faults whose source is known already.
    found: Vec<ConfigFault>,
}

impl Merge {
    fn set(&mut self, path: &str, value: Value, source: Source) {
        let mut table = &mut self.table;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                table.insert(name.to_owned(), value);
                self.sources.insert(path.to_owned(), source);
                return;
            }
            let inner = table.entry(name.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => table = inner,
                // The file has something else in a section's place, which is told as its fault.
                _ => return,
            }
        }
    }
}

/// The source of a key, or of what it lies in.
fn source_of(sources: &BTreeMap<String, Source>, key: &str) -> Option<Source> {
    let mut key = key;
    loop {
        if let Some(source) = sources.get(key) {
            return Some(source.clone());
        }
        key = &key[..key.rfind(['.', '['])?];
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE_BYTES) {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}
