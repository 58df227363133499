use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Rows of one lookup; the older half is forgotten when there are more.
const MAX_ROWS: usize = 50_000;

/// What the database says of an id: its columns, NULL where one holds nothing; or that there is no row.
pub(crate) type Row = Option<Arc<[Option<Bytes>]>>;

/// Rows that were read not long ago. A state machine without clock: time is an argument.
#[derive(Debug)]
pub(crate) struct RowCache {
    ttl: Duration,
    young: HashMap<Bytes, (Row, Instant)>,
    old: HashMap<Bytes, (Row, Instant)>,
}

impl RowCache {
    /// An empty one; with a TTL of zero it stays so.
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, young: HashMap::new(), old: HashMap::new() }
    }

    pub(crate) fn get(&self, id: &Bytes, now: Instant) -> Option<Row> {
        let (row, read) = self.young.get(id).or_else(|| self.old.get(id))?;
        (now.saturating_duration_since(*read) < self.ttl).then(|| row.clone())
    }

    /// Keeps a row that was read at this moment.
    pub(crate) fn put(&mut self, id: Bytes, row: Row, now: Instant) {
        if self.ttl.is_zero() {
            return;
        }
        if self.young.len() >= MAX_ROWS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, (row, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_end_and_are_bounded() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut cache = RowCache::new(Duration::from_secs(10));
        cache.put(Bytes::from("-1"), None, begun);
        assert_eq!(cache.get(&Bytes::from("-1"), at(9)), Some(None));
        assert_eq!(cache.get(&Bytes::from("-1"), at(10)), None);
        for number in 0..200_000 {
            cache.put(Bytes::from(number.to_string()), Some(Arc::new([])), at(1));
        }
        assert!(cache.young.len() + cache.old.len() <= MAX_ROWS);
        assert!(
            cache.get(&Bytes::from("199999"), at(1)).is_some()
                && cache.get(&Bytes::from("0"), at(1)).is_none()
        );
        let mut none = RowCache::new(Duration::ZERO);
        none.put(Bytes::from("1"), None, begun);
        assert_eq!(none.get(&Bytes::from("1"), begun), None);
    }
}
