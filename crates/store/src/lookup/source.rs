//! Where the rows of entities are read from.

mod hash;
mod table;

use std::fmt::Debug;
use std::sync::Arc;

use adulis_pool::PoolError;
use adulis_types::BoxFuture;
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::{FeatureRow, StoreError};

pub(crate) use hash::HashSource;
pub(crate) use table::TableSource;

/// Rows in their order; `None` where nothing is known of an id.
pub(crate) type Rows = Vec<Option<FeatureRow>>;

/// Reads what is known of entities by their ids: rows of a table, or hashes in Redis.
pub(crate) trait Source: Debug + Send + Sync + 'static {
    /// The rows of these ids, all or none, within a time of its own. Dropping the future cancels it.
    fn fetch<'a>(&'a self, ids: &'a [Bytes]) -> BoxFuture<'a, Result<Rows, SourceError>>;

    /// Where it has to be asked; `None`: wherever requests are.
    fn runtime(&self) -> Option<&Handle>;

    /// How it calls the parts of a row.
    fn words(&self) -> Words;
}

/// How a source calls the parts of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words {
    /// One part of a row.
    pub(crate) cell: &'static str,
    /// What a part is that holds nothing.
    pub(crate) empty: &'static str,
}

/// Why a source could not be read. Cheap to clone: those whose ids were read together share one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The database gave no rows.
    #[error("the database could not be asked")]
    Database(#[source] Arc<StoreError>),
    /// Redis gave no hashes.
    #[error("Redis {}", complaint(.0))]
    Redis(#[source] PoolError),
    /// As many ids wait as may.
    #[error("too many ids wait to be looked up")]
    Busy,
    /// Nobody reads any more.
    #[error("the server is stopping")]
    Ended,
}

fn complaint(error: &PoolError) -> &'static str {
    match error {
        PoolError::Timeout { .. } => "did not answer in time",
        PoolError::Busy { .. } => "has no free connection",
        PoolError::WrongType { .. } => "holds something else than a hash",
        _ => "could not be asked",
    }
}

impl SourceError {
    /// What is wrong with the ids, where it is they that are at fault: others may be read as ever.
    pub(crate) fn fault_of_ids(&self) -> Option<&'static str> {
        match self {
            Self::Database(error) => {
                error.is_refusal().then_some("one of its ids is none that the table can have")
            }
            Self::Redis(PoolError::WrongType { .. }) => Some("what is kept of one of its ids is no hash"),
            Self::Redis(_) | Self::Busy | Self::Ended => None,
        }
    }

    /// Whether it is the lookup's configuration that is at fault, or the source's: trying again is of no use.
    pub(crate) fn is_configuration(&self) -> bool {
        match self {
            Self::Database(error) => error.is_statement_fault(),
            Self::Redis(error) => matches!(error, PoolError::Answer { .. } | PoolError::Setting(_)),
            Self::Busy | Self::Ended => false,
        }
    }

    /// All that is known of it, for the log.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Database(error) => error.detail(),
            Self::Redis(error) => error.to_string(),
            Self::Busy | Self::Ended => self.to_string(),
        }
    }
}

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<PoolError> for SourceError {
    fn from(error: PoolError) -> Self {
        Self::Redis(error)
    }
}
