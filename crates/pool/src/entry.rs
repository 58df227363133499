use std::time::Duration;

use bytes::Bytes;

/// A value to be kept for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<K> {
    /// Its key.
    pub key: K,
    /// The value.
    pub value: Bytes,
    /// How long it is kept.
    pub ttl: Duration,
}
