use adulis_pool::RedisPool;
use adulis_types::BoxFuture;
use bytes::Bytes;
use tokio::runtime::Handle;

use super::{Rows, Source, SourceError, Words};

/// Fields that are read with one round trip: what Redis answers without others noticing.
const MAX_FIELDS: usize = 1 << 16;

/// Hashes in Redis, one for each entity.
#[derive(Debug)]
pub(crate) struct HashSource {
    pool: RedisPool,
    /// What stands before and behind the id in a hash's key.
    before: String,
    after: String,
    fields: Vec<String>,
}

impl HashSource {
    /// Reads these fields of the hashes with these keys: what stands before the id, and what behind it.
    pub(crate) fn new(pool: RedisPool, (before, after): (String, &str), fields: Vec<String>) -> Self {
        Self { pool, before, after: after.to_owned(), fields }
    }

    fn key(&self, id: &[u8]) -> Vec<u8> {
        [self.before.as_bytes(), id, self.after.as_bytes()].concat()
    }

    async fn hashes(&self, ids: &[Bytes]) -> Result<Rows, SourceError> {
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks((MAX_FIELDS / self.fields.len().max(1)).max(1)) {
            let keys: Vec<_> = ids.iter().map(|id| self.key(id)).collect();
            let hashes = self.pool.hash_get_many(&keys, &self.fields).await?;
            // Redis does not tell a hash without any of the fields from one that is missing.
            let known = hashes.into_iter().map(|row| row.iter().any(Option::is_some).then_some(row));
            rows.extend(known);
        }
        Ok(rows)
    }
}

impl Source for HashSource {
    fn fetch<'a>(&'a self, ids: &'a [Bytes]) -> BoxFuture<'a, Result<Rows, SourceError>> {
        Box::pin(self.hashes(ids))
    }

    fn runtime(&self) -> Option<&Handle> {
        None
    }

    fn words(&self) -> Words {
        Words { cell: "field", empty: "missing" }
    }
}
