use std::time::SystemTime;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::sql::clean;
use crate::time::{from_epoch_us, now_us, since_epoch_us};

pub(super) const SELECT: &str = "SELECT at_us, actor, operation, key_id, detail FROM adulis_key_audit
                                 ORDER BY at_us DESC, id DESC LIMIT $1";

/// What somebody did to a key. Nothing deletes these, and triggers refuse whoever tries to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// When.
    pub at: SystemTime,
    /// Who: a user of the machine that it was done on, or whoever else the caller said.
    pub actor: String,
    /// `create`, `rotate` or `revoke`.
    pub operation: String,
    /// The key.
    pub key_id: String,
    /// In which way.
    pub detail: String,
}

impl KeyEvent {
    pub(super) fn now(actor: &str, operation: &str, key_id: &str, detail: &str) -> Self {
        Self {
            at: from_epoch_us(now_us()),
            actor: clean(actor),
            operation: operation.to_owned(),
            key_id: clean(key_id),
            detail: clean(detail),
        }
    }
}

/// Adds an event, within whatever transaction the connection is in.
pub(super) async fn note(connection: &mut AnyConnection, event: KeyEvent) -> Result<(), StoreError> {
    let insert = "INSERT INTO adulis_key_audit (at_us, actor, operation, key_id, detail)
                  VALUES ($1, $2, $3, $4, $5)";
    sqlx::query(insert)
        .bind(since_epoch_us(event.at))
        .bind(event.actor)
        .bind(event.operation)
        .bind(event.key_id)
        .bind(event.detail)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn read(row: &AnyRow) -> Result<KeyEvent, StoreError> {
    Ok(KeyEvent {
        at: from_epoch_us(row.try_get("at_us")?),
        actor: row.try_get("actor")?,
        operation: row.try_get("operation")?,
        key_id: row.try_get("key_id")?,
        detail: row.try_get("detail")?,
    })
}
