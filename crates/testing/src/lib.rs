//! Test services, clients and fixtures for the workspace's tests.
//!
//! [`ScriptedService`] stands in for the engine where a frontend is tested by itself; [`RawConnection`] says to a server
//! exactly the bytes that a test wants said, slowly or cut short, as no well-behaved client would.

mod raw;
mod scripted;

pub use raw::{RawConnection, RawResponse};
pub use scripted::{Calls, ScriptedService};
