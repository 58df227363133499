use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::sql::{clean, hex};
use crate::time::{from_epoch_us, now_us, since_epoch_us};
use crate::{Database, StoreError};

/// What every key begins with, so that people and scanners of repositories know one when they see it.
const PREFIX: &str = "adulis_";
/// Random bytes of a key.
const SECRET_BYTES: usize = 32;
/// Random bytes of the name that a key has in lists and logs.
const ID_BYTES: usize = 9;
/// The longest text that is looked up.
const MAX_SECRET_LENGTH: usize = 128;
/// Most keys that a list has.
const MAX_LISTED: i64 = 10_000;

const COLUMNS: &str = "id, name, scopes, created_at, expires_at, revoked_at";

/// API keys. Only their SHA-256 is kept.
///
/// A key is 256 random bits that we draw, not a password that somebody chose: there is no dictionary to try, and a slow hash
/// such as argon2 would protect nothing, while it would cost each request tens of milliseconds and megabytes. For the same
/// reason there is no salt, and the digest can be looked up by an index; what time that takes tells nothing of the key.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    database: Arc<Database>,
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What it is called in lists, logs and usage.
    pub id: String,
    /// What it was called by whoever made it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it ends, if it does.
    pub expires_at: Option<SystemTime>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<SystemTime>,
}

/// The text that a client sends. It cannot be had again.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

/// A key to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewKey {
    /// What it is called, for people.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// When it ends; `None` for never.
    pub expires_at: Option<SystemTime>,
}

impl KeySecret {
    /// The text itself, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(********)")
    }
}

impl ApiKey {
    /// Whether it may be used at this moment.
    #[must_use]
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.revoked_at.is_none_or(|revoked| now < revoked)
            && self.expires_at.is_none_or(|expires| now < expires)
    }
}

impl ApiKeys {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`StoreError`] where it could not be kept: then there is no such key.
    pub async fn create(&self, new: NewKey) -> Result<(ApiKey, KeySecret), StoreError> {
        let secret = KeySecret(format!("{PREFIX}{}", random::<SECRET_BYTES>()));
        let key = ApiKey {
            id: format!("key_{}", random::<ID_BYTES>()),
            name: clean(&new.name),
            scopes: new.scopes.iter().map(|scope| clean(scope)).collect(),
            // As the database will tell it.
            created_at: from_epoch_us(now_us()),
            expires_at: new.expires_at.map(|at| from_epoch_us(since_epoch_us(at))),
            revoked_at: None,
        };
        let scopes =
            serde_json::to_string(&key.scopes).map_err(|error| corrupt(&key.id, &error.to_string()))?;
        let insert = "INSERT INTO adulis_api_keys (id, name, digest, scopes, created_at, expires_at)
                      VALUES ($1, $2, $3, $4, $5, $6)";
        let insert = sqlx::query(insert)
            .bind(key.id.clone())
            .bind(key.name.clone())
            .bind(digest(&secret.0))
            .bind(scopes)
            .bind(since_epoch_us(key.created_at))
            .bind(key.expires_at.map(since_epoch_us));
        self.database
            .attempt("keys", async {
                let mut connection = self.database.connect().await?;
                insert.execute(&mut *connection).await?;
                connection.done();
                Ok(())
            })
            .await?;
        Ok((key, secret))
    }

    /// All keys, the newest first, those that are not valid any more included; 10,000 at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<ApiKey>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM adulis_api_keys ORDER BY created_at DESC, id LIMIT $1");
        let rows = self.rows(select, MAX_LISTED.into()).await?;
        rows.iter().map(read).collect()
    }

    /// The key that a client has sent, whether it is still valid or not; see [`ApiKey::is_valid`]. `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`]: then it is not known whether there is one.
    pub async fn find(&self, secret: &str) -> Result<Option<ApiKey>, StoreError> {
        // What cannot be a key costs the database nothing.
        if !secret.starts_with(PREFIX) || secret.len() > MAX_SECRET_LENGTH {
            return Ok(None);
        }
        let select = format!("SELECT {COLUMNS} FROM adulis_api_keys WHERE digest = $1");
        let rows = self.rows(select, Value::Text(digest(secret))).await?;
        rows.first().map(read).transpose()
    }

    /// Ends a key. False where there is none of this id, or it was revoked before.
    ///
    /// # Errors
    /// [`StoreError`]: then it is not known whether it has ended.
    pub async fn revoke(&self, id: &str) -> Result<bool, StoreError> {
        let update = "UPDATE adulis_api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
        let update = sqlx::query(update).bind(now_us()).bind(clean(id));
        self.database
            .attempt("keys", async {
                let mut connection = self.database.connect().await?;
                let changed = update.execute(&mut *connection).await?.rows_affected();
                connection.done();
                Ok(changed > 0)
            })
            .await
    }

    async fn rows(&self, select: String, value: Value) -> Result<Vec<AnyRow>, StoreError> {
        let query = sqlx::query(sqlx::AssertSqlSafe(select));
        let query = match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        };
        self.database
            .attempt("keys", async {
                let mut connection = self.database.connect().await?;
                let rows = query.fetch_all(&mut *connection).await?;
                connection.done();
                Ok(rows)
            })
            .await
    }
}

enum Value {
    Text(String),
    Number(i64),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

fn read(row: &AnyRow) -> Result<ApiKey, StoreError> {
    let (id, scopes): (String, String) = (row.try_get("id")?, row.try_get("scopes")?);
    let moment = |name| Ok::<_, StoreError>(row.try_get::<Option<i64>, _>(name)?.map(from_epoch_us));
    Ok(ApiKey {
        name: row.try_get("name")?,
        scopes: serde_json::from_str(&scopes).map_err(|error| corrupt(&id, &error.to_string()))?,
        created_at: from_epoch_us(row.try_get("created_at")?),
        expires_at: moment("expires_at")?,
        revoked_at: moment("revoked_at")?,
        id,
    })
}

fn corrupt(id: &str, why: &str) -> StoreError {
    StoreError::Corrupt { what: format!("scopes of the key {id}: {why}") }
}

fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// So many random bytes as text.
fn random<const N: usize>() -> String {
    let mut bytes = [0; N];
    // Seeded by the operating system, and made for secrets.
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
