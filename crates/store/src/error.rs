use std::time::Duration;

use adulis_telemetry::causes;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no database that is known.
    #[error(transparent)]
    Url(#[from] crate::StoreUrlFault),
    /// No connection in time: the database is down, or all connections are in use.
    #[error("no connection to the store's database within {waited:?}")]
    NoConnection {
        /// How long was waited.
        waited: Duration,
    },
    /// The database did not answer in time.
    #[error("the store's database did not answer within {waited:?}")]
    TimedOut {
        /// How long was waited.
        waited: Duration,
    },
    /// It was not asked: it is known to be down.
    #[error("the store's database is down and not asked")]
    Open,
    /// The database has tables of a later build.
    #[error(
        "the store's database has migration {found}, and this build knows {known}: it was used by a later one"
    )]
    TooNew {
        /// The latest migration that is there.
        found: i64,
        /// The latest that this build knows.
        known: i64,
    },
    /// A migration is not what it was when it was applied.
    #[error("migration {version} of the store's database is not the one that this build has")]
    OtherMigration {
        /// Which.
        version: i64,
    },
    /// What stands where a table's or column's name should.
    #[error("{name:?} is no name of a table or column: expected letters, digits and _")]
    Name {
        /// What stands there.
        name: String,
    },
    /// A table or its column is not there.
    #[error("there is no table {table} with a column {column:?}")]
    NoColumn {
        /// The table, quoted.
        table: String,
        /// The column.
        column: String,
    },
    /// There are no tables yet, and none were to be made.
    #[error("there is no store yet: nothing has been written there")]
    Empty,
    /// What lies in the database is not what was written there.
    #[error("the store holds what this build cannot read: {what}")]
    Corrupt {
        /// What.
        what: String,
    },
    /// The thread that the store works on could not be started.
    #[error("cannot start the store's thread")]
    Thread(#[source] std::io::Error),
    /// There is no TLS with the database as it was asked for.
    #[error("no connection to the store's database over TLS: {remedy}")]
    Tls {
        /// What to do.
        remedy: &'static str,
        /// What went wrong.
        source: sqlx::Error,
    },
    /// What the database or the way to it says.
    #[error("the store's database failed")]
    Database(#[from] sqlx::Error),
}

const UNTRUSTED: &str =
    "nobody who is trusted has signed its certificate: name who has with sslrootcert=FILE in store.url";
const UNTRUSTED_CLIENT: &str = "it does not trust whoever signed our certificate, sslcert in store.url";

/// What to do where there is no TLS, by what the TLS library, the driver or PostgreSQL says of it. An authority with the name of
/// the right one is told from it by its signature.
const REMEDIES: [(&str, &str); 9] = [
    ("UnknownIssuer", UNTRUSTED),
    ("BadSignature", UNTRUSTED),
    (
        "not valid for name",
        "its certificate is for another host: call it in store.url as the certificate does, or say sslmode=verify-ca",
    ),
    ("certificate expired", "its certificate has run out: it needs a new one"),
    (
        "valid client certificate",
        "it asks who we are: name our certificate and its key with sslcert=FILE and sslkey=FILE in store.url",
    ),
    ("UnknownCA", UNTRUSTED_CLIENT),
    ("DecryptError", UNTRUSTED_CLIENT),
    ("does not support TLS", "it does not speak TLS, which sslmode in store.url asks for"),
    ("no encryption", "it asks for TLS: say sslmode=verify-full in store.url"),
];

impl StoreError {
    /// An error while connecting.
    pub(crate) fn connecting(source: sqlx::Error) -> Self {
        let told = source.to_string();
        match REMEDIES.iter().find(|(sign, _)| told.contains(sign)) {
            Some((_, remedy)) => Self::Tls { remedy, source },
            None => Self::Database(source),
        }
    }

    /// Whether the database refused what it was given, and will again: a value that it cannot hold, a row that is there
    /// already. Everything else may work later: the database is down, full, locked, or set up wrongly.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| refuses(&code)),
            Self::Database(sqlx::Error::Encode(_)) => true,
            _ => false,
        }
    }

    /// Whether the connection broke, or the database ends it, so that another one may work.
    pub(crate) fn breaks_connection(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Io(_)) => true,
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| ends(&code)),
            _ => false,
        }
    }

    /// All that is known of it, for the log. What the driver says has its causes in it already.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Database(error) => format!("{self}: {error}"),
            other => causes(other),
        }
    }

    /// Whether it is a statement that is at fault, or the names in it, rather than the database.
    #[must_use]
    pub fn is_statement_fault(&self) -> bool {
        match self {
            Self::Name { .. } | Self::NoColumn { .. } => true,
            // PostgreSQL: syntax, and what is not there. SQLite: ERROR.
            Self::Database(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| code == "1" || (code.len() == 5 && code.starts_with("42"))),
            _ => false,
        }
    }
}

/// Sources: PostgreSQL documentation, appendix A; SQLite documentation, "Result and Error Codes".
fn refuses(code: &str) -> bool {
    // PostgreSQL's codes have five characters: data exceptions, constraints, limits of a program.
    if code.len() == 5 {
        return ["22", "23", "54"].iter().any(|class| code.starts_with(class));
    }
    // SQLite's primary code is the low byte: TOOBIG, CONSTRAINT, MISMATCH, RANGE.
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18 | 19 | 20 | 25))
}

/// Source: PostgreSQL documentation, appendix A: connection exceptions, and a server that is being shut down or starts.
fn ends(code: &str) -> bool {
    code.len() == 5 && (code.starts_with("08") || ["57P01", "57P02", "57P03"].contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_s_end_is_worth_another_one() {
        for code in ["57P01", "08006", "57P03"] {
            assert!(ends(code), "{code}");
        }
        for code in ["22021", "23505", "53300", "40001", "8", "08"] {
            assert!(!ends(code), "{code}");
        }
    }

    #[test]
    fn only_what_the_data_is_at_fault_for_is_a_refusal() {
        for code in ["22021", "23505", "54000", "18", "19", "2067"] {
            assert!(refuses(code), "{code}");
        }
        for code in [
            "57P01", "08006", "53300", "40001", "25006", "28P01", "42P01", "5", "517", "13", "14",
        ] {
            assert!(!refuses(code), "{code}");
        }
    }
}
