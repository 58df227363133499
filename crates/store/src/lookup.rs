//! Inputs that the server adds to requests: features of an entity, looked up by its id in a table of the store's database.
//!
//! A model says so in its configuration, as JSON in the parameter `lookup`: see [`LookupConfig`]. The service stands before all
//! others: what they are asked has the features in it.

mod cache;
mod config;
mod error;
mod loader;
mod plan;
mod service;
mod value;

pub use config::{LookupConfig, Missing};
pub use error::LookupError;
pub(crate) use service::Enriching;
