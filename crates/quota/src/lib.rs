//! How much an identity may ask for: requests and rows in a second with bursts, requests at a time, rows in a day.
//!
//! ```text
//! request ─ class of its identity ─ limits ─ its place here, among those at a time ─┬ counts and places of Redis ─┬─ admitted: the service within
//!                (or none: it passes)                                             └ counts here ────────────────┘   or refused, with when to come back
//! ```
//!
//! [`Quotas`] is the service that stands around the engine. Which limits hold is the configuration's to say ([`Class`]); what is
//! left of them is counted by identity, and by model where a class says something of the model of its own.
//!
//! Invariants:
//! - A request is counted against all of its limits or against none: one that is refused takes nothing.
//! - What is told of when to come back is when the request would be let through if nobody else of the identity asked meanwhile; of a
//!   place, whose time nobody knows, a second.
//! - Identities that are told apart are bounded in number. Who has requests under way is not forgotten.
//! - Redis that is slow or down fails no request and delays none beyond its pool's deadline: then this replica counts by itself.
//! - A place among those at a time is given back when the request's future or stream is dropped, whatever it has come to. In Redis it is
//!   leased: a task renews it while the request lasts, and gives it back afterwards, which nobody waits for, or at the latest when the server
//!   stops ([`Quotas::close`]). A replica that dies has its places until their leases end.
//! - What is under way is counted: where Redis could not be asked, or has lost its data, its task tells it of the places that are held.
//! - [`Gcra`], [`Counts`] and the book of leases are state machines without clock, lock or I/O.
//!
//! The `governor` crate does not fit: a request is judged by several limits at once, all or nothing, which its limiters, asked
//! one after the other, cannot take back; it says of the future only when to come back, not what is left and when that is whole;
//! its keyed state is not bounded; and the script that Redis runs has to compute the same.
//!
//! Deliberately lacking: limits of bytes.

mod counts;
mod error;
mod gcra;
mod key;
mod leases;
mod ledger;
mod limits;
mod quotas;
mod report;
mod service;
mod shared;

pub use counts::{Cost, Counts, Judgement, Moment, Reading, Refusal};
pub use error::QuotaError;
pub use gcra::{Gcra, Rate};
pub use limits::{Class, Limit, Limits};
pub use quotas::{QuotaOptions, Quotas};
pub use shared::SharedCounts;
