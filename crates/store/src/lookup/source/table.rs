use std::sync::Arc;

use adulis_types::BoxFuture;
use bytes::Bytes;
use tokio::runtime::Handle;

use super::{Rows, Source, SourceError, Words};
use crate::{Database, FeatureTables, StoreError};

/// Rows of a table of the store's database.
#[derive(Debug)]
pub(crate) struct TableSource {
    tables: FeatureTables,
    table: String,
    columns: Vec<String>,
    /// The store's own.
    runtime: Handle,
}

impl TableSource {
    /// Reads these columns of a table by this key.
    pub(crate) fn new(
        (database, runtime): (Arc<Database>, Handle),
        (table, key_column): (&str, &str),
        columns: Vec<String>,
    ) -> Result<Self, StoreError> {
        let tables = FeatureTables::new(database, key_column)?;
        Ok(Self { tables, table: table.to_owned(), columns, runtime })
    }
}

impl Source for TableSource {
    fn fetch<'a>(&'a self, ids: &'a [Bytes]) -> BoxFuture<'a, Result<Rows, SourceError>> {
        Box::pin(async move { Ok(self.tables.fetch(&self.table, ids, &self.columns).await?) })
    }

    /// Connections belong to the runtime that they were opened on.
    fn runtime(&self) -> Option<&Handle> {
        Some(&self.runtime)
    }

    fn words(&self) -> Words {
        Words { cell: "column", empty: "NULL" }
    }
}
