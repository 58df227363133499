//! What a server keeps in SQL: API keys and their scopes, usage by key and model, and the inference log. SQLite in a file of
//! its own, or PostgreSQL where several replicas share it, through the same statements. Of tables that are others' it reads rows
//! by id, and of Redis hashes: features that are added to requests.
//!
//! ```text
//! request ─ Recording ─ the service behind it                       (nobody here waits for the database)
//!              ├─ usage: atomic additions ───────────────┐
//!              └─ sample: clones of tensors ─ Queue ─┐   │
//!                                   bounded, drops   │   │
//!            the thread `adulis-store`:           Writer Keeper ─ Database ─ pool ─ SQLite or PostgreSQL
//! ```
//!
//! Invariants:
//! - Requests never wait for the database and never fail because of it: what cannot be written in time is dropped and counted.
//! - A database that is down at the start or later is found again without help. Tables are made when it is first reached, by one
//!   replica at a time, all of them or none.
//! - Everything is bounded: records and bytes that wait, batches, the log in the database, what an export holds.
//! - What is redacted is not kept in memory either. Of API keys only digests are kept. No password is shown.
//! - Values are bound, never put into a statement's text.
//!
//! Nobody is authenticated or refused here: see `adulis-security`.

mod database;
mod error;
mod export;
mod features;
mod keys;
mod lookup;
mod migrate;
mod options;
mod policy;
mod queue;
mod record;
mod retention;
mod service;
mod sql;
mod store;
mod tensor_json;
mod time;
mod url;
mod usage;
mod writer;

pub use database::{Database, DatabaseMetrics};
pub use error::StoreError;
pub use export::{ExportError, JsonLines, LogFilter, LogSink, Parquet, export_log};
pub use features::{FeatureRow, FeatureTables};
pub use keys::{ApiKey, ApiKeys, KeyEvent, KeySecret, NewKey};
pub use lookup::{LookupConfig, LookupError, Lookups, Missing, SourceError};
#[doc(hidden)] // for the fuzzer
pub use lookup::{append_cell, ids_of};
pub use migrate::Tables;
pub use options::PoolOptions;
pub use policy::{Capture, LogPolicies, LogPolicy};
pub use retention::Retention;
pub use store::{LogOptions, Store, StoreOptions};
pub use url::{DatabaseKind, StoreUrl, StoreUrlFault};
pub use usage::{DailyUsage, Usage, UsageCounter, UsageSums};
