use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_telemetry::{PoolGauges, PoolMetrics};
use bytes::Bytes;
use futures_util::StreamExt as _;
use redis::{Cmd, FromRedisValue, Pipeline, TlsCertificates};

use crate::clock::now;
use crate::gate::{Gate, Operation};
use crate::keeper::{Keeper, Kept};
use crate::multiplex::Multiplex;
use crate::{BackendStatus, Entry, KeyValuePool, PoolError, PoolOptions};

mod connect;
mod error;
mod script;
mod url;

use connect::Dial;
use error::pool_error;
pub use script::RedisScript;
pub(crate) use url::parse_host;
pub use url::{RedisUrl, UrlError};

/// Most keys of one command.
const MAX_KEYS: usize = 512;

/// Commands that one operation has under way at a time in a cluster, where each key goes its own way.
const CLUSTER_COMMANDS: usize = 64;

/// Of the time that an operation has, what is left for putting its parts together.
const RESERVE_PERCENT: u32 = 10;

/// Deletes a key if it still has the value that we gave it.
const DELETE_IF_EQUALS: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

/// Certificates in PEM; where none are set, the system's roots hold.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// Whom we trust, in the place of the system's roots.
    pub roots: Option<Vec<u8>>,
    /// Our own certificate and its key, where the server asks for them.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl RedisTls {
    fn certificates(self) -> Option<TlsCertificates> {
        if self == Self::default() {
            return None;
        }
        let client_tls = self
            .client
            .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
        Some(TlsCertificates { client_tls, root_cert: self.roots })
    }
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTls")
            .field("roots", &self.roots.is_some())
            .field("client", &self.client.is_some())
            .finish()
    }
}

/// A pool of connections to a Redis server, to the master that Sentinels name, or to a cluster. Clones share it.
///
/// Each connection is shared by many operations at a time, which the server answers in order, as one pipeline. No operation
/// takes longer than [`PoolOptions::timeout`]; none is tried while the breaker is open; dropping its future cancels it.
#[derive(Clone)]
pub struct RedisPool(Arc<Keeper<Inner>>);

impl fmt::Debug for RedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPool")
            .field("backend", self.0.peek().gate.backend())
            .finish_non_exhaustive()
    }
}

struct Inner {
    gate: Gate,
    links: Multiplex<Dial>,
    is_cluster: bool,
    check_interval: Duration,
}

impl RedisPool {
    /// A pool of this name. Connects in the background, or with the first operation where no runtime runs yet: a server that is
    /// down does not keep anybody waiting.
    ///
    /// # Errors
    /// [`PoolError::Setting`] if address or certificates are at fault.
    pub fn open(
        name: &str,
        (url, tls): (RedisUrl, RedisTls),
        options: &PoolOptions,
        metrics: &PoolMetrics,
    ) -> Result<Self, PoolError> {
        let backend: Arc<str> = name.into();
        let dial = Dial::new(Arc::clone(&backend), url, tls, options)?;
        let is_cluster = dial.is_cluster();
        let inner = Arc::new_cyclic(|weak: &std::sync::Weak<Inner>| {
            let observed = weak.clone();
            let observe = move || observed.upgrade().map(|inner| inner.gauges()).unwrap_or_default();
            let handles = metrics.pool(name, observe);
            Inner {
                links: Multiplex::new(dial, backend.clone(), options.clone(), handles.clone()),
                gate: Gate::new(backend, options, handles),
                is_cluster,
                check_interval: options.check_interval,
            }
        });
        Ok(Self(Arc::new(Keeper::new(inner))))
    }

    /// Runs a script on keys, in one step of the server. Returns the numbers that it answers. For a cluster, the keys have the
    /// same hash tag: what is in braces.
    ///
    /// # Errors
    /// As [`PoolError`] says; it may have been run then.
    pub async fn run_script(
        &self,
        script: &RedisScript,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Vec<i64>, PoolError> {
        let kept = self.0.kept();
        match kept.one(Operation::Script, script.named(keys, arguments)).await {
            // The server was restarted, or is another one now.
            Err(PoolError::NoScript { .. }) => {
                kept.one(Operation::Script, script.whole(keys, arguments)).await
            }
            answer => answer,
        }
    }

    /// These fields of each of these hashes, in their order; `None` for a field that is missing, as all are of a hash that is
    /// missing.
    ///
    /// # Errors
    /// As [`PoolError`] says, also if only some of the hashes could not be read; [`PoolError::WrongType`] where something else
    /// than a hash lies under one of the keys.
    pub async fn hash_get_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        fields: &[impl AsRef<[u8]>],
    ) -> Result<Vec<Vec<Option<Bytes>>>, PoolError> {
        let commands = keys.iter().map(|key| {
            let mut get = command("HMGET", [key.as_ref()]);
            for field in fields {
                get.arg(field.as_ref());
            }
            get
        });
        let hashes: Vec<Result<Vec<Option<Vec<u8>>>, PoolError>> =
            self.0.kept().each(Operation::HashGet, commands.collect()).await?;
        // A hash that was not read is not an empty one.
        let fields = |fields: Vec<Option<Vec<u8>>>| -> Vec<Option<Bytes>> {
            fields.into_iter().map(|field| field.map(Bytes::from)).collect()
        };
        hashes.into_iter().map(|hash| hash.map(fields)).collect()
    }

    /// Whether it answers, and since when.
    #[must_use]
    pub fn status(&self) -> BackendStatus {
        self.0.peek().gate.status()
    }
}

/// In a cluster, the keys of servers that do not answer count as missing, as long as any server answers.
impl KeyValuePool for RedisPool {
    const KIND: &'static str = "redis";

    async fn get_many<K: AsRef<[u8]> + Sync>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>, PoolError> {
        let values: Vec<Option<Vec<u8>>> = if self.0.peek().is_cluster {
            let commands = keys.iter().map(|key| command("GET", [key.as_ref()])).collect();
            self.0
                .kept()
                .spread(Operation::Get, commands)
                .await?
                .into_iter()
                .map(|value| value.ok().flatten())
                .collect()
        } else {
            let chunks = keys.chunks(MAX_KEYS);
            let commands = chunks.map(|keys| command("MGET", keys.iter().map(AsRef::as_ref)));
            let answers: Vec<Vec<Option<Vec<u8>>>> =
                self.0.kept().pipe(Operation::Get, commands.collect()).await?;
            answers.into_iter().flatten().collect()
        };
        Ok(values.into_iter().map(|value| value.map(Bytes::from)).collect())
    }

    async fn set_many<K: AsRef<[u8]> + Sync>(&self, entries: &[Entry<K>]) -> Result<(), PoolError> {
        let commands = entries.iter().map(|Entry { key, value, ttl }| {
            let mut set = command("SET", [key.as_ref(), value]);
            set.arg("PX").arg(milliseconds(*ttl));
            set
        });
        // What is not set is computed again: which part of a cluster did not answer, its metrics tell.
        self.0.kept().each::<()>(Operation::Set, commands.collect()).await.map(drop)
    }

    async fn set_if_absent(&self, key: &[u8], value: &[u8], ttl: Duration) -> Result<bool, PoolError> {
        let mut set = command("SET", [key, value]);
        set.arg("NX").arg("PX").arg(milliseconds(ttl));
        let answer: Option<String> = self.0.kept().one(Operation::SetIfAbsent, set).await?;
        Ok(answer.is_some())
    }

    async fn delete<K: AsRef<[u8]> + Sync>(&self, keys: &[K]) -> Result<u64, PoolError> {
        let commands = keys.iter().map(|key| command("UNLINK", [key.as_ref()])).collect();
        let removed: Vec<Result<u64, PoolError>> = self.0.kept().each(Operation::Delete, commands).await?;
        Ok(removed.into_iter().flatten().sum())
    }

    async fn delete_if_equals(&self, key: &[u8], value: &[u8]) -> Result<bool, PoolError> {
        let mut eval = redis::cmd("EVAL");
        eval.arg(DELETE_IF_EQUALS).arg(1).arg(key).arg(value);
        let removed: u64 = self.0.kept().one(Operation::DeleteIfEquals, eval).await?;
        Ok(removed > 0)
    }

    fn backends(&self) -> Vec<BackendStatus> {
        vec![self.status()]
    }
}

fn command<'a>(name: &str, arguments: impl IntoIterator<Item = &'a [u8]>) -> Cmd {
    let mut command = redis::cmd(name);
    for argument in arguments {
        command.arg(argument);
    }
    command
}

fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX >> 1).max(1)
}

impl Inner {
    fn gauges(&self) -> PoolGauges {
        PoolGauges { breaker: Some(self.gate.breaker_state()), ..self.links.gauges() }
    }

    async fn one<T: FromRedisValue>(&self, operation: Operation, command: Cmd) -> Result<T, PoolError> {
        let answers: Vec<T> = self.pipe(operation, vec![command]).await?;
        let backend = Arc::clone(self.gate.backend());
        let missing = || PoolError::Answer { backend, reason: "an answer is missing".to_owned() };
        answers.into_iter().next().ok_or_else(missing)
    }

    /// Each command by itself in a cluster, as one pipeline elsewhere. An error in it where one was not answered and others were.
    async fn each<T: FromRedisValue>(
        &self,
        operation: Operation,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Result<T, PoolError>>, PoolError> {
        if self.is_cluster {
            return self.spread(operation, commands).await;
        }
        let answers = self.pipe(operation, commands).await?;
        Ok(answers.into_iter().map(Ok).collect())
    }

    /// Commands whose keys lie together, in one pipeline.
    async fn pipe<T: FromRedisValue>(
        &self,
        operation: Operation,
        commands: Vec<Cmd>,
    ) -> Result<Vec<T>, PoolError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        let pipeline = Ask::All(pipeline);
        self.gate.run(operation, |until| self.ask(&pipeline, until)).await
    }

    /// Commands whose keys lie anywhere in a cluster: many at a time, each on its own. Where a part of the cluster does not
    /// answer, the others' answers are there in time.
    async fn spread<T: FromRedisValue>(
        &self,
        operation: Operation,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Result<T, PoolError>>, PoolError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.gate.run_partly(operation, |until| self.ask_each(commands, until)).await
    }

    async fn ask_each<T: FromRedisValue>(
        &self,
        commands: Vec<Cmd>,
        until: Instant,
    ) -> Result<Parts<T>, PoolError> {
        let soon = until - until.saturating_duration_since(now()) * RESERVE_PERCENT / 100;
        let mut asked = Vec::with_capacity(commands.len());
        for command in commands {
            asked.push(self.ask_soon(Ask::One(command), soon));
        }
        parts(futures_util::stream::iter(asked).buffered(CLUSTER_COMMANDS).collect().await)
    }

    async fn ask_soon<T: FromRedisValue>(&self, ask: Ask, soon: Instant) -> Result<T, PoolError> {
        let answer = tokio::time::timeout_at(soon.into(), self.ask(&ask, soon)).await;
        answer.unwrap_or_else(|_| Err(self.gate.timed_out()))
    }

    /// Asks on a connection. If that turns out to be broken, because the server was restarted, on another one: once, within the
    /// budget, and without a pause, since it is the connection that is at fault.
    async fn ask<T: FromRedisValue>(&self, ask: &Ask, until: Instant) -> Result<T, PoolError> {
        let mut is_again = false;
        loop {
            let lease = self.links.acquire(until).await?;
            let mut link = lease.link();
            let answer = match ask {
                Ask::One(command) => command.query_async(&mut link).await,
                Ask::All(pipeline) => pipeline.query_async(&mut link).await,
            };
            let result =
                answer.map_err(|error| pool_error((self.gate.backend(), self.gate.timeout()), &error));
            match &result {
                // A connection to a cluster replaces the parts of itself that break.
                Err(error) if error.breaks_connection() && !self.is_cluster => {
                    lease.discard();
                    let may_retry = !is_again && matches!(error, PoolError::Broken { .. });
                    if !may_retry || !self.gate.may_retry() {
                        return result;
                    }
                    is_again = true;
                }
                _ => return result,
            }
        }
    }
}

/// What is asked in one go.
enum Ask {
    One(Cmd),
    All(Pipeline),
}

/// Answers one by one, and what counts against the backend as a whole.
type Parts<T> = (Vec<Result<T, PoolError>>, Option<PoolError>);

/// The answers, and what kept the worst of them from being there. An error only if none is.
fn parts<T>(answers: Vec<Result<T, PoolError>>) -> Result<Parts<T>, PoolError> {
    let faults = || answers.iter().filter_map(|answer| answer.as_ref().err());
    let timed_out = faults().find(|error| matches!(error, PoolError::Timeout { .. }));
    let all_failed = faults().count() == answers.len();
    match (faults().next(), all_failed) {
        (Some(error), true) => Err(timed_out.unwrap_or(error).clone()),
        // Others answered: only what costs time counts against them all.
        _ => {
            let fault = timed_out.cloned();
            Ok((answers, fault))
        }
    }
}

impl Kept for Inner {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn check_interval(&self) -> Duration {
        self.check_interval
    }

    async fn check(&self) -> Result<(), PoolError> {
        self.links.check().await
    }

    fn reset(&self) {
        self.links.reset();
    }

    async fn upkeep(&self) {
        self.links.upkeep().await;
    }
}

#[cfg(test)]
mod tests;
