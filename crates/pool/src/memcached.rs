use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use adulis_telemetry::PoolMetrics;
use bytes::Bytes;
use futures_util::future::join_all;

use crate::gate::Operation;
use crate::keeper::Keeper;
use crate::{BackendStatus, Entry, KeyValuePool, PoolError, PoolOptions};

mod job;
mod node;
mod ring;
mod servers;

use job::{Add, Delete, DeleteIfEquals, Get, Job, KeyAndValue, Set};
use node::Node;
use ring::Ring;
pub use servers::MemcachedServers;

/// Longest key.
///
/// Source: memcached's `doc/protocol.txt`, "Keys".
pub const MAX_KEY_BYTES: usize = 250;

/// Largest value with a key of any length, where the server's largest item is 1 MiB, as it is unless it is told otherwise.
pub const MAX_VALUE_BYTES: usize = (1 << 20) - 512;

/// Longer ones are taken for a point in time.
///
/// Source: memcached's `doc/protocol.txt`, "Expiration times".
const MAX_TTL_SECONDS: u64 = 60 * 60 * 24 * 30;

/// Pools of connections to Memcached servers, over which keys are spread by consistent hashing. Clones share them.
///
/// Each server has its own connections and its own breaker: while one is down, its keys count as missing and cost nothing, and
/// the others are as quick as ever. Keys do not move to other servers meanwhile. It must be Memcached 1.6 or newer.
#[derive(Clone)]
pub struct MemcachedPool {
    nodes: Arc<[Keeper<Node>]>,
    ring: Arc<Ring>,
    max_value_bytes: usize,
}

impl fmt::Debug for MemcachedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.nodes.iter().map(|node| node.peek().gate.backend()).collect();
        f.debug_struct("MemcachedPool").field("servers", &names).finish_non_exhaustive()
    }
}

impl MemcachedPool {
    /// Pools of this name, one for each server. Connects in the background, or with the first operation where no runtime runs
    /// yet: a server that is down does not keep anybody waiting.
    ///
    /// # Errors
    /// [`PoolError::Setting`].
    pub fn open(
        name: &str,
        servers: &MemcachedServers,
        options: &PoolOptions,
        metrics: &PoolMetrics,
    ) -> Result<Self, PoolError> {
        let MemcachedServers(servers) = servers;
        let nodes = servers.iter().map(|server| Node::new(name, server, options, metrics).map(Keeper::new));
        let nodes = nodes.collect::<Result<_, _>>()?;
        Ok(Self { nodes, ring: Arc::new(Ring::new(servers)), max_value_bytes: MAX_VALUE_BYTES })
    }

    /// Sets the largest value that is sent, for servers that were told another largest item (`-I`).
    #[must_use]
    pub fn with_max_value_bytes(mut self, limit: usize) -> Self {
        self.max_value_bytes = limit;
        self
    }

    fn node(&self, key: &[u8]) -> Result<&Arc<Node>, PoolError> {
        let node = self.nodes[self.ring.server(key)].kept();
        let backend = || Arc::clone(node.gate.backend());
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let (what, limit) = ("a key", MAX_KEY_BYTES);
            return Err(PoolError::TooLarge { backend: backend(), what, actual: key.len(), limit });
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(PoolError::Setting(format!("{} takes no key with spaces or controls", backend())));
        }
        Ok(node)
    }

    /// What belongs to each server, as far as something does.
    fn spread<'a, T>(
        &self,
        items: &'a [T],
        key: impl Fn(&T) -> &[u8],
    ) -> Result<Vec<Part<'_, &'a T>>, PoolError> {
        let mut parts: Vec<Part<'_, &T>> = self.nodes.iter().map(|node| (node.kept(), Vec::new())).collect();
        for item in items {
            let key = key(item);
            self.node(key)?;
            parts[self.ring.server(key)].1.push(item);
        }
        parts.retain(|(_, items)| !items.is_empty());
        Ok(parts)
    }
}

/// Keys of servers that do not answer count as missing, as long as any server answers. Times to live are whole seconds, at least
/// one; so that many values go in one round trip, times beyond 16 seconds are cut by up to an eighth.
impl KeyValuePool for MemcachedPool {
    const KIND: &'static str = "memcached";

    async fn get_many<K: AsRef<[u8]> + Sync>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>, PoolError> {
        let mut asked = Vec::new();
        for (node, keys) in self.spread(keys, AsRef::as_ref)? {
            asked.push(perform(node, Operation::Get, Get(keys.into_iter().map(AsRef::as_ref).collect())));
        }
        let mut found = some(join_all(asked).await)?;
        // A key that is asked for twice has one value.
        let value = |key: &K| found.iter_mut().find_map(|part| part.get(key.as_ref()).cloned());
        Ok(keys.iter().map(value).collect())
    }

    async fn set_many<K: AsRef<[u8]> + Sync>(&self, entries: &[Entry<K>]) -> Result<(), PoolError> {
        let limit = self.max_value_bytes;
        let too_large = entries.iter().map(|entry| entry.value.len()).find(|&size| size > limit);
        let fitting: Vec<&Entry<K>> = entries.iter().filter(|entry| entry.value.len() <= limit).collect();
        let mut asked = Vec::new();
        for (node, entries) in self.spread(&fitting, |entry| entry.key.as_ref())? {
            let mut by_ttl: BTreeMap<i64, Vec<KeyAndValue<'_>>> = BTreeMap::new();
            for Entry { key, value, ttl } in entries {
                by_ttl.entry(rough(seconds(*ttl))).or_default().push((key.as_ref(), value));
            }
            asked.push(set(node, Set(by_ttl)));
        }
        let result = join_all(asked).await.into_iter().find(Result::is_err).unwrap_or(Ok(()));
        match too_large {
            Some(actual) => {
                let backend = Arc::clone(self.nodes[0].peek().gate.backend());
                Err(PoolError::TooLarge { backend, what: "a value", actual, limit })
            }
            None => result,
        }
    }

    async fn set_if_absent(&self, key: &[u8], value: &[u8], ttl: Duration) -> Result<bool, PoolError> {
        let ttl = seconds(ttl);
        perform(self.node(key)?, Operation::SetIfAbsent, Add { key, value, ttl }).await
    }

    async fn delete<K: AsRef<[u8]> + Sync>(&self, keys: &[K]) -> Result<u64, PoolError> {
        let mut asked = Vec::new();
        for (node, keys) in self.spread(keys, AsRef::as_ref)? {
            let keys = keys.into_iter().map(AsRef::as_ref).collect();
            asked.push(perform(node, Operation::Delete, Delete(keys)));
        }
        join_all(asked).await.into_iter().sum()
    }

    async fn delete_if_equals(&self, key: &[u8], value: &[u8]) -> Result<bool, PoolError> {
        perform(self.node(key)?, Operation::DeleteIfEquals, DeleteIfEquals { key, value }).await
    }

    fn backends(&self) -> Vec<BackendStatus> {
        self.nodes.iter().map(|node| node.peek().gate.status()).collect()
    }
}

/// A server, and what belongs to it.
type Part<'a, T> = (&'a Arc<Node>, Vec<T>);

async fn perform<J: Job>(node: &Node, operation: Operation, job: J) -> Result<J::Answer, PoolError> {
    node.gate.run(operation, |_| node.perform(job)).await
}

async fn set(node: &Node, job: Set<'_>) -> Result<(), PoolError> {
    let refused = perform(node, Operation::Set, job).await?;
    refused.map_or(Ok(()), |error| Err(node.error(&error)))
}

/// What those that succeeded give; an error if none did.
fn some<T>(answers: Vec<Result<T, PoolError>>) -> Result<Vec<T>, PoolError> {
    let (mut found, mut failed) = (Vec::new(), None);
    for answer in answers {
        match answer {
            Ok(part) => found.push(part),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// Whole seconds, rounded up, within what is taken for a duration.
fn seconds(ttl: Duration) -> i64 {
    let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    i64::try_from(seconds.clamp(1, MAX_TTL_SECONDS)).unwrap_or(1)
}

/// With no more than the leading four bits.
fn rough(seconds: i64) -> i64 {
    let bits = i64::BITS - seconds.leading_zeros();
    let cut = bits.saturating_sub(4);
    seconds >> cut << cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_seconds_within_the_limit() {
        let day = 60 * 60 * 24;
        for (ttl, expected) in [
            (Duration::ZERO, 1),
            (Duration::from_millis(1), 1),
            (Duration::from_millis(1001), 2),
            (Duration::from_secs(90), 90),
            (Duration::from_secs(day * 365), 2_592_000),
            (Duration::MAX, 2_592_000),
        ] {
            assert_eq!(seconds(ttl), expected, "{ttl:?}");
        }
    }

    #[test]
    fn times_are_cut_by_an_eighth_at_most() {
        let mut distinct = std::collections::BTreeSet::new();
        for seconds in 1..100_000 {
            let cut = rough(seconds);
            assert!(cut <= seconds && cut * 8 > seconds * 7 - 8, "{seconds}: {cut}");
            assert!(seconds > 16 || cut == seconds);
            distinct.insert(cut);
        }
        assert!(distinct.len() < 130, "{}", distinct.len());
    }
}
