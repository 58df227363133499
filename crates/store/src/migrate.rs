use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Row};

use crate::database::Lease;
use crate::sql::hex;
use crate::time::now_us;
use crate::{DatabaseKind, StoreError};

/// Whether a database is given the tables that it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// It is, and a file that is not there is made.
    Made,
    /// They must be there.
    Expected,
}

/// What was done to the tables, in order. What has been released is never changed: the next change is a file of its own.
const MIGRATIONS: [(i64, Text); 3] = [
    (1, Text::Same(include_str!("../migrations/0001_keys_usage_log.sql"))),
    (2, Text::Same(include_str!("../migrations/0002_key_models_audit.sql"))),
    (
        3,
        Text::Differs {
            sqlite: include_str!("../migrations/0003_key_audit_append_only.sqlite.sql"),
            postgres: include_str!("../migrations/0003_key_audit_append_only.postgres.sql"),
        },
    ),
];

/// A migration in SQL.
#[derive(Clone, Copy)]
enum Text {
    /// In words of both kinds of database, but for `{serial}`: what a number that counts itself up is called.
    Same(&'static str),
    /// In words of each: they have no triggers in common.
    Differs { sqlite: &'static str, postgres: &'static str },
}

/// Replicas that start together take turns under this number.
const LOCK: i64 = 0x0061_6475_6c69_7301;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS adulis_migrations (
    version BIGINT PRIMARY KEY, digest TEXT NOT NULL, applied_at_us BIGINT NOT NULL)";

/// Makes the tables or brings them up to date, all of it or nothing. Several processes may do so at once.
///
/// sqlx's own migrator takes no lock on SQLite, so that of two processes that start together one would fail; and it wants a
/// set of files for each kind of database.
pub(crate) async fn migrate(
    connection: &mut Lease,
    kind: DatabaseKind,
    tables: Tables,
) -> Result<(), StoreError> {
    if tables == Tables::Expected {
        let applied = sqlx::query("SELECT version, digest FROM adulis_migrations ORDER BY version");
        let applied = applied.fetch_all(&mut **connection).await.map_err(|_| StoreError::Empty)?;
        return pending(&applied, kind).map(drop);
    }
    // On SQLite this waits for the file's lock.
    let mut transaction = connection.begin().await?;
    if kind == DatabaseKind::Postgres {
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(LOCK)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::raw_sql(TABLE).execute(&mut *transaction).await?;
    let applied = sqlx::query("SELECT version, digest FROM adulis_migrations ORDER BY version");
    let applied = applied.fetch_all(&mut *transaction).await?;
    for (version, text) in pending(&applied, kind)? {
        sqlx::raw_sql(AssertSqlSafe(text.clone())).execute(&mut *transaction).await?;
        let insert =
            sqlx::query("INSERT INTO adulis_migrations (version, digest, applied_at_us) VALUES ($1, $2, $3)");
        let insert = insert.bind(version).bind(digest(&text)).bind(now_us());
        insert.execute(&mut *transaction).await?;
        tracing::info!(version, "the store's tables are brought up to date");
    }
    transaction.commit().await?;
    Ok(())
}

/// The migrations that are to be applied.
fn pending(applied: &[sqlx::any::AnyRow], kind: DatabaseKind) -> Result<Vec<(i64, String)>, StoreError> {
    let known = MIGRATIONS.last().map_or(0, |(version, _)| *version);
    let mut pending: Vec<_> = MIGRATIONS.iter().map(|(version, text)| (*version, text.of(kind))).collect();
    for row in applied {
        let (version, found): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        let Some(index) = pending.iter().position(|(of, _)| *of == version) else {
            return Err(StoreError::TooNew { found: version, known });
        };
        if digest(&pending.remove(index).1) != found {
            return Err(StoreError::OtherMigration { version });
        }
    }
    Ok(pending)
}

impl Text {
    /// In the words of one kind of database.
    fn of(self, kind: DatabaseKind) -> String {
        let serial = match kind {
            DatabaseKind::Sqlite => "INTEGER PRIMARY KEY AUTOINCREMENT",
            DatabaseKind::Postgres => "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        };
        match (self, kind) {
            (Self::Same(text), _) => text.replace("{serial}", serial),
            (Self::Differs { sqlite, .. }, DatabaseKind::Sqlite) => sqlite.to_owned(),
            (Self::Differs { postgres, .. }, DatabaseKind::Postgres) => postgres.to_owned(),
        }
    }
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
