//! Adulis inside an Axum application.

fn main() {}
