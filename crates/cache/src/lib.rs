//! The response cache: what a model answered once is not computed again.
//!
//! ```text
//! request ─ key ─ memory ─┬─ known ──────────────────────────────────────────────────── answer
//!                         └─ flight ─┬─ somebody is at it: wait ─────────────────────── answer
//!                                    └─ lead ─ shared tier ─┬─ known ───────────────────┐
//!                                                           └─ lease ─ run ─ remember ──┴─ land ─ answer
//! ```
//!
//! A request of a batchable model is looked up row by row: what is known is taken, what is missing is run in one smaller
//! request, and the answer is put together in order.
//!
//! Invariants:
//! - Two requests that could be answered differently never share a key ([`Key`]).
//! - Of all requests for one key at a time, one runs the model; the others wait, each no longer than it would anyway. A leader
//!   that goes away, fails or panics hands on to the next that waits ([`flight`](crate)).
//! - Nobody waits for another request while it has something to run that others may wait for.
//! - Errors are not remembered, unless that is asked for.
//! - The bytes in memory never exceed what was set; each entry has its own allocation, exactly as large as it is.
//! - What was purged is given no more, here from that moment on, and by replicas that share the tier as soon as they have looked.
//! - What comes from a shared tier is checked as bytes from outside are; whatever is wrong with it is as if it were not there.
//!
//! There is no protocol and no engine here, and connections are `adulis-pool`'s: the engine brings [`Compute`], the binary the
//! pool of a [`PoolTier`], or a [`SharedTier`] of its own.

mod cache;
mod compute;
mod entry;
mod files;
mod flight;
mod generation;
mod guarded;
mod key;
mod memory;
mod plan;
mod purging;
mod resolve;
mod rows;
mod scope;
mod settings;
mod shared;
#[cfg(test)]
mod testing;
mod tiers;
pub mod value;

pub use cache::{Found, Look, ModelCache, Refresh, ResponseCache, Search};
pub use compute::{Compute, Computed, Inputs};
pub use files::FilesSeen;
#[doc(hidden)] // for the fuzzer
pub use generation::Generation;
pub use guarded::{GuardedTier, TierCounts};
pub use key::{Key, ModelDigest, ModelKeys, Question};
pub use scope::{Counts, Scope};
pub use settings::{CacheSettings, ModelPolicy};
pub use shared::{Holder, MarkChange, PoolTier, SharedTier, StoredValue, TierError};
