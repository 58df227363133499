use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Where the store's database is: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`.
///
/// A password is never shown: neither `Display` nor `Debug` has it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Sqlite(PathBuf),
    Postgres(String),
}

/// The two kinds of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file of this process's own.
    Sqlite,
    /// A server that several replicas may share.
    Postgres,
}

/// What is wrong with a URL. Does not repeat it, since it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreUrlFault(&'static str);

/// What a path may hold in a URL as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`StoreUrlFault`] where it is of no known kind or names no database.
    pub fn parse(text: &str) -> Result<Self, StoreUrlFault> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(StoreUrlFault("names no file: for example \"sqlite:adulis.db\"")),
                // Every connection of a pool would have a database of its own.
                ":memory:" => Err(StoreUrlFault("cannot be in memory: name a file")),
                path if path.contains(['?', '\0']) => {
                    Err(StoreUrlFault("has parameters, of which SQLite's takes none"))
                }
                path => Ok(Self::sqlite(path)),
            };
        }
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        match rest {
            Some(rest) if !rest.is_empty() && text.parse::<sqlx::any::AnyConnectOptions>().is_ok() => {
                Ok(Self(Place::Postgres(text.to_owned())))
            }
            Some(_) => Err(StoreUrlFault("is no URL: for example \"postgres://user@host/database\"")),
            None => Err(StoreUrlFault("is of no known kind: expected sqlite:PATH or postgres://…")),
        }
    }

    /// A file of SQLite's.
    #[must_use]
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Place::Sqlite(path.into()))
    }

    /// Of which kind it is.
    #[must_use]
    pub fn kind(&self) -> DatabaseKind {
        match self.0 {
            Place::Sqlite(_) => DatabaseKind::Sqlite,
            Place::Postgres(_) => DatabaseKind::Postgres,
        }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }

    /// As the driver takes it.
    pub(crate) fn driver_url(&self, may_create: bool) -> String {
        match &self.0 {
            Place::Sqlite(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                let mode = if may_create { "rwc" } else { "rw" };
                format!("sqlite:{}?mode={mode}", utf8_percent_encode(&path.to_string_lossy(), PATH))
            }
            Place::Postgres(url) => url.clone(),
        }
    }
}

impl fmt::Display for StoreUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Place::Postgres(url) => f.write_str(&masked(url)),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The URL with stars in place of its password, whether that stands before the host or among the parameters.
fn masked(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let mut text = format!("{scheme}://");
    match rest.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((user, _)), host)) => text.extend([user, ":********@", host]),
        _ => text.push_str(rest),
    }
    let mut before = '?';
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        text.push(before);
        match parameter.split_once('=') {
            Some((name, _)) if name.eq_ignore_ascii_case("password") => {
                text.extend([name, "=********"]);
            }
            _ => text.push_str(parameter),
        }
        before = '&';
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_and_passwords_never_shown() {
        for (text, kind, shown) in [
            ("sqlite:a b.db", DatabaseKind::Sqlite, "sqlite:a b.db"),
            ("sqlite:///var/lib/x.db", DatabaseKind::Sqlite, "sqlite:/var/lib/x.db"),
            ("postgres://h/d", DatabaseKind::Postgres, "postgres://h/d"),
            ("postgresql://u@h:1/d", DatabaseKind::Postgres, "postgresql://u@h:1/d"),
            (
                "postgres://u:p@ss:w@h/d?sslmode=require&password=p@ss",
                DatabaseKind::Postgres,
                "postgres://u:********@h/d?sslmode=require&password=********",
            ),
        ] {
            let url = StoreUrl::parse(text).unwrap();
            assert_eq!((url.kind(), &*url.to_string()), (kind, shown));
            assert_eq!(format!("{url:?}"), shown);
        }
    }

    #[test]
    fn what_is_no_database_is_refused_without_being_repeated() {
        for text in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a?mode=ro",
            "postgres://",
            "postgres://h:x/d",
            "mysql://s:cret@h/d",
        ] {
            let fault = StoreUrl::parse(text).unwrap_err().to_string();
            assert!(!fault.contains("cret"), "{fault}");
        }
    }

    #[test]
    fn odd_paths_reach_the_driver_whole() {
        let url = StoreUrl::sqlite("/tmp/a b/c#d%20é?.db").driver_url(true);
        assert_eq!(url, "sqlite:/tmp/a%20b/c%23d%2520%C3%A9%3F.db?mode=rwc");
        assert!(url.parse::<sqlx::any::AnyConnectOptions>().is_ok());
    }
}
