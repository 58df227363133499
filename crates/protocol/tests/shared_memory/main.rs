//! Tensors in shared memory: how both protocols name their places, and how they get there and back.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what makes test data is test code too"
)]

mod places;
mod round_trip;
