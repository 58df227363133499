//! The pure-Rust engine as a backend.
