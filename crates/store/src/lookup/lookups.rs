use std::fmt;
use std::sync::Arc;

use adulis_pool::RedisPool;
use adulis_types::InferenceService;
use tokio::runtime::Handle;

use super::config::{LookupConfig, Place};
use super::service::Enriching;
use super::source::{HashSource, Source, TableSource};
use crate::Database;

/// Where lookups may lead: to tables of the store's database, to hashes in Redis, to both. Clones share them.
#[derive(Clone, Default)]
pub struct Lookups {
    /// And the runtime that its connections belong to.
    tables: Option<(Arc<Database>, Handle)>,
    /// And what every key begins with.
    hashes: Option<(RedisPool, Arc<str>)>,
}

impl Lookups {
    /// To the tables of a database alone.
    pub(crate) fn in_tables(database: Arc<Database>, runtime: Handle) -> Self {
        Self { tables: Some((database, runtime)), hashes: None }
    }

    /// To hashes in this Redis, too, whose keys all begin with `key_prefix`.
    #[must_use]
    pub fn with_hashes(mut self, pool: RedisPool, key_prefix: &str) -> Self {
        self.hashes = Some((pool, key_prefix.into()));
        self
    }

    /// A service that answers as `inner` does, with what models look up added to requests; `inner` itself where lookups lead
    /// nowhere. What it adds from Redis it reads on the runtime that requests come on.
    #[must_use]
    pub fn wrap(self, inner: Arc<dyn InferenceService>) -> Arc<dyn InferenceService> {
        if self.tables.is_none() && self.hashes.is_none() {
            return inner;
        }
        Arc::new(Enriching::new(inner, self))
    }

    /// What a lookup reads from.
    ///
    /// # Errors
    /// Why it cannot, with the remedy.
    pub(crate) fn source(
        &self,
        config: &LookupConfig,
        cells: Vec<String>,
    ) -> Result<Arc<dyn Source>, String> {
        match config.place()? {
            Place::Table { table, key_column } => {
                let tables = self.tables.clone().ok_or_else(|| {
                    format!("it names the table {table:?}, and no database is looked up in: set store.lookup to true")
                })?;
                let source = TableSource::new(tables, (table, key_column), cells);
                Ok(Arc::new(source.map_err(|error| error.to_string())?))
            }
            Place::Hash { before, after } => {
                let (pool, prefix) = self.hashes.clone().ok_or_else(|| {
                    format!("it names the hash \"{before}*{after}\", and there is no Redis to look in: set lookup.redis.url")
                })?;
                Ok(Arc::new(HashSource::new(pool, (format!("{prefix}{before}"), after), cells)))
            }
        }
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups")
            .field("tables", &self.tables.is_some())
            .field("hashes", &self.hashes.is_some())
            .finish()
    }
}
