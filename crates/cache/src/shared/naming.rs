use adulis_pool::{Entry, PoolError};

use super::{StoredValue, TierError};
use crate::Key;

/// What keys are called in a store of others: all that Redis and Memcached take, 250 bytes of printable ASCII.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    prefix: String,
}

impl Naming {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn values(&self, keys: &[Key]) -> Vec<String> {
        keys.iter().map(|key| self.value(key)).collect()
    }

    pub(super) fn entries(&self, values: &[StoredValue]) -> Vec<Entry<String>> {
        let entry = |stored: &StoredValue| Entry {
            key: self.value(&stored.key),
            value: stored.value.clone(),
            ttl: stored.ttl,
        };
        values.iter().map(entry).collect()
    }

    pub(super) fn lease(&self, key: &Key) -> String {
        format!("{}lease:{key}", self.prefix)
    }

    pub(super) fn mark(&self, key: &Key) -> String {
        format!("{}mark:{key}", self.prefix)
    }

    fn value(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }
}

impl From<PoolError> for TierError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Open { .. } => Self::Open,
            PoolError::Timeout { limit, .. } => Self::Timeout(limit),
            error => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_leases_and_marks_have_names_of_their_own() {
        let naming = Naming::new("adulis:");
        let key = Key::from_bytes([0xab; 32]);
        let value = &naming.values(&[key])[0];
        assert_eq!(*value, format!("adulis:{}", "ab".repeat(32)));
        assert_eq!(naming.lease(&key), format!("adulis:lease:{}", "ab".repeat(32)));
        assert_eq!(naming.mark(&key), format!("adulis:mark:{}", "ab".repeat(32)));
        let longest = Naming::new(&"p".repeat(100)).lease(&key);
        assert!(longest.len() <= adulis_pool::MAX_KEY_BYTES);
    }
}
