//! Adulis as a library.

pub mod check;
pub mod cli;
pub mod config;
