//! Dynamic batching and fair sharing as state machines without clock or I/O.
