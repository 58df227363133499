//! Model repositories in object storage: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.
//!
//! [`Storage`] opens a URL as an [`ObjectRepository`], which mirrors what lies there into a private folder on this machine;
//! `adulis-repository` scans that folder as it does any other. No other crate names `object_store`.
//!
//! ```text
//! list ─ keys to paths, bounded ─ plan: what differs from the mirror ─ fetch, several at once, into `incoming`
//!                                                                        └ a model is whole: rename it into `tree`
//! ```
//!
//! Invariants:
//! - A model's part of the mirror is as it was or up to date: what is fetched lies apart until all of the model is there. A
//!   crash between two renames is found at the next start, because `manifest.json` knows each file's inode, size and time.
//! - What has not changed is not fetched again and keeps its inode, so that a poll sees only what did change.
//! - Only what was listed as a whole removes anything. A listing that breaks off changes nothing.
//! - A key becomes a path inside the mirror or is left out. Objects, bytes, depth and time are bounded.
//! - Each request is tried again as [`StorageOptions::max_retries`] says, and within a budget that a repository's requests share; an
//!   object that breaks off is gone on with where it did. A storage that is down is not asked while its breaker is open.
//! - Two servers never share a mirror: the first to lock it has it, the next takes another.
//! - Secrets come from the environment, as each cloud's own tools read them. None is kept, printed or logged.

mod cache;
mod connect;
mod download;
mod error;
mod key;
mod listing;
mod manifest;
mod mirror;
mod options;
mod plan;
mod repository;
mod requests;
mod runner;
mod storage;
#[cfg(test)]
mod testing;
mod url;

pub use adulis_retry::BreakerOptions;
pub use error::StorageError;
pub use options::{AzureOptions, GcsOptions, S3Options, StorageOptions};
pub use repository::ObjectRepository;
pub use storage::Storage;
pub use url::{Location, StorageUrl, UrlFault};
