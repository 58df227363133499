//! How what has failed is tried again, and what is down is left alone, wherever the server depends on something: after which
//! pauses ([`Backoff`]), how often in all ([`RetryBudget`]), the loop over both ([`Retries`]), when not to ask at all
//! ([`Breaker`]), and all of it together ([`Calls`]).
//!
//! The one implementation of the workspace. Delays come from the `backon` crate, the budget from `tower`.
//!
//! Invariants:
//! - Delays double up to a limit, and no two clients that failed together try again together: of each delay a half is left to
//!   chance. None is longer than the limit.
//! - However much fails, retries are no more than a share of what is done, and a few in each second.
//! - A deadline is kept: there is no pause that would outlast it.
//! - The [`Breaker`] is a state machine without clock or I/O.
//!
//! Deliberately lacking: what may be tried again. Whoever calls knows whether an error is one of the kind that passes.

mod backoff;
mod breaker;
mod budget;
mod calls;
mod retries;

pub use backoff::{Backoff, BackoffOptions};
pub use breaker::{Admission, Breaker, BreakerOptions, BreakerState, Outcome};
pub use budget::{BudgetOptions, RetryBudget};
pub use calls::{CallCounts, CallError, Calls, Fault};
pub use retries::{Again, Retries};
