mod audit;
mod key;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

pub use self::audit::KeyEvent;
use self::audit::note;
pub use self::key::{ApiKey, KeySecret, NewKey};
use crate::sql::{clean, hex};
use crate::time::{from_epoch_us, now_us, since_epoch_us};
use crate::{Database, StoreError};

/// Most keys that a list has.
const MAX_LISTED: i64 = 10_000;

const COLUMNS: &str = "id, name, hint, scopes, models, weight, quota, created_at, expires_at, revoked_at";

/// API keys. Only their SHA-256 is kept.
///
/// A key is 256 random bits that we draw, not a password that somebody chose: there is no dictionary to try, and a slow hash
/// such as argon2 would protect nothing, while it would cost each request tens of milliseconds and megabytes. For the same
/// reason there is no salt, and the digest can be looked up by an index; what time that takes tells nothing of the key.
///
/// Who made, replaced or ended a key is noted beside it in the same transaction.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    database: Arc<Database>,
}

impl ApiKeys {
    /// The keys in a database.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Whether a text can be a key at all: one that was made here has this form.
    #[must_use]
    pub fn is_candidate(text: &str) -> bool {
        key::is_candidate(text)
    }

    /// Makes a key, in the name of `actor`.
    ///
    /// # Errors
    /// [`StoreError`] where it could not be kept: then there is no such key.
    pub async fn create(&self, new: NewKey, actor: &str) -> Result<(ApiKey, KeySecret), StoreError> {
        let (key, secret) = new.draw();
        let made = Made::of(&key, &secret)?;
        self.change(async |connection| {
            made.insert(connection).await?;
            note(connection, KeyEvent::now(actor, "create", &key.id, &key.summary())).await
        })
        .await?;
        Ok((key, secret))
    }

    /// Makes a key that may do what another one may, which ends after `grace`; at once where that is zero. `None` where there is
    /// none of this id, or it has ended.
    ///
    /// # Errors
    /// [`StoreError`]: then nothing has changed.
    pub async fn rotate(
        &self,
        id: &str,
        grace: Duration,
        actor: &str,
    ) -> Result<Option<(ApiKey, KeySecret)>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM adulis_api_keys WHERE id = $1");
        let old = self.rows(select, Value::Text(clean(id))).await?;
        let now = SystemTime::now();
        let Some(old) = old.first().map(read).transpose()?.filter(|old| old.is_valid(now)) else {
            return Ok(None);
        };
        let (key, secret) = NewKey::like(&old).draw();
        let made = Made::of(&key, &secret)?;
        let end = since_epoch_us(now.checked_add(grace).unwrap_or(now));
        let end = old.expires_at.map_or(end, |expires| since_epoch_us(expires).min(end));
        let changed = self
            .change(async |connection| {
                let update =
                    "UPDATE adulis_api_keys SET expires_at = $1 WHERE id = $2 AND revoked_at IS NULL";
                let ended = sqlx::query(update).bind(end).bind(old.id.clone());
                if ended.execute(&mut *connection).await?.rows_affected() == 0 {
                    return Ok(false);
                }
                made.insert(connection).await?;
                let detail = format!("replaced by {}", key.id);
                note(connection, KeyEvent::now(actor, "rotate", &old.id, &detail)).await?;
                note(connection, KeyEvent::now(actor, "create", &key.id, &key.summary())).await?;
                Ok(true)
            })
            .await?;
        Ok(changed.then_some((key, secret)))
    }

    /// All keys, the newest first, those that are not valid any more included; 10,000 at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<ApiKey>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM adulis_api_keys ORDER BY created_at DESC, id LIMIT $1");
        let rows = self.rows(select, Value::Number(MAX_LISTED)).await?;
        rows.iter().map(read).collect()
    }

    /// The key that a client has sent, whether it is still valid or not; see [`ApiKey::is_valid`]. `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`]: then it is not known whether there is one.
    pub async fn find(&self, secret: &str) -> Result<Option<ApiKey>, StoreError> {
        // What cannot be a key costs the database nothing.
        if !Self::is_candidate(secret) {
            return Ok(None);
        }
        self.find_digest(&key::digest(secret)).await
    }

    /// The key of this SHA-256, likewise.
    ///
    /// # Errors
    /// As [`ApiKeys::find`].
    pub async fn find_digest(&self, digest: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM adulis_api_keys WHERE digest = $1");
        let rows = self.rows(select, Value::Text(hex(digest))).await?;
        rows.first().map(read).transpose()
    }

    /// Ends a key, in the name of `actor`. False where there is none of this id, or it was revoked before.
    ///
    /// # Errors
    /// [`StoreError`]: then it is not known whether it has ended.
    pub async fn revoke(&self, id: &str, actor: &str) -> Result<bool, StoreError> {
        self.change(async |connection| {
            let update = "UPDATE adulis_api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
            let ended = sqlx::query(update).bind(now_us()).bind(clean(id));
            let is_changed = ended.execute(&mut *connection).await?.rows_affected() > 0;
            if is_changed {
                note(connection, KeyEvent::now(actor, "revoke", id, "")).await?;
            }
            Ok(is_changed)
        })
        .await
    }

    /// What was done to keys, the latest first; `limit` events at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events(&self, limit: u32) -> Result<Vec<KeyEvent>, StoreError> {
        let rows = self.rows(audit::SELECT.to_owned(), Value::Number(limit.into())).await?;
        rows.iter().map(audit::read).collect()
    }

    /// Changes keys in one transaction: all of it or nothing.
    async fn change<T>(
        &self,
        work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.database
            .attempt("keys", async {
                let mut connection = self.database.connect().await?;
                let mut transaction = connection.begin().await?;
                let done = work(&mut *transaction).await?;
                transaction.commit().await?;
                connection.done();
                Ok(done)
            })
            .await
    }

    async fn rows(&self, select: String, value: Value) -> Result<Vec<AnyRow>, StoreError> {
        let work = || async {
            let query = sqlx::query(AssertSqlSafe(select.clone()));
            let query = match &value {
                Value::Text(text) => query.bind(text.clone()),
                Value::Number(number) => query.bind(*number),
            };
            let mut connection = self.database.connect().await?;
            let rows = query.fetch_all(&mut *connection).await?;
            connection.done();
            Ok(rows)
        };
        self.database.read("keys", work, |_| true).await
    }
}

enum Value {
    Text(String),
    Number(i64),
}

/// A key to be put into the database.
struct Made<'a> {
    key: &'a ApiKey,
    digest: String,
    scopes: String,
    models: String,
}

impl<'a> Made<'a> {
    fn of(key: &'a ApiKey, secret: &KeySecret) -> Result<Self, StoreError> {
        let list = |texts: &[String]| {
            serde_json::to_string(texts).map_err(|error| corrupt(&key.id, &error.to_string()))
        };
        Ok(Self {
            digest: hex(&key::digest(secret.reveal())),
            scopes: list(&key.scopes)?,
            models: list(&key.models)?,
            key,
        })
    }

    async fn insert(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let insert = "INSERT INTO adulis_api_keys
                      (id, name, digest, hint, scopes, models, weight, quota, created_at, expires_at)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        sqlx::query(insert)
            .bind(self.key.id.clone())
            .bind(self.key.name.clone())
            .bind(self.digest.clone())
            .bind(self.key.hint.clone())
            .bind(self.scopes.clone())
            .bind(self.models.clone())
            .bind(i64::from(self.key.weight))
            .bind(self.key.quota.clone())
            .bind(since_epoch_us(self.key.created_at))
            .bind(self.key.expires_at.map(since_epoch_us))
            .execute(connection)
            .await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<ApiKey, StoreError> {
    let id: String = row.try_get("id")?;
    let moment = |name| Ok::<_, StoreError>(row.try_get::<Option<i64>, _>(name)?.map(from_epoch_us));
    let list = |name| {
        let text: String = row.try_get(name)?;
        serde_json::from_str(&text).map_err(|error| corrupt(&id, &error.to_string()))
    };
    Ok(ApiKey {
        name: row.try_get("name")?,
        hint: row.try_get("hint")?,
        scopes: list("scopes")?,
        models: list("models")?,
        weight: u32::try_from(row.try_get::<i64, _>("weight")?).unwrap_or(1),
        quota: row.try_get("quota")?,
        created_at: from_epoch_us(row.try_get("created_at")?),
        expires_at: moment("expires_at")?,
        revoked_at: moment("revoked_at")?,
        id,
    })
}

fn corrupt(id: &str, why: &str) -> StoreError {
    StoreError::Corrupt { what: format!("lists of the key {id}: {why}") }
}
