//! Inputs that the server adds to requests: features of an entity, looked up by its id in a table of the store's database, or in
//! a hash in Redis.
//!
//! A model says so in its configuration, as JSON in the parameter `lookup`: see [`LookupConfig`]. The service stands before all
//! others: what they are asked has the features in it.
//!
//! ```text
//! request ─ Enriching ─ Plan ─ Loader: rows known? ─ gathers ids of many requests ─ Source: table or hashes
//! ```

mod cache;
mod config;
mod error;
mod loader;
mod lookups;
mod plan;
mod service;
mod source;
mod value;

pub use config::{LookupConfig, Missing};
pub use error::LookupError;
pub use lookups::Lookups;
pub use source::SourceError;
pub use value::{append_cell, ids_of};
