use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::cache::{Row, RowCache};
use crate::{FeatureTables, StoreError};

/// Ids that are read together.
const MAX_IDS: usize = 4096;
/// Ids that may wait.
const MAX_WAITING: usize = 200_000;

/// Reads rows of a table by id: those that several requests want at the same time with one query. While one is under way, the
/// ids of the next gather.
#[derive(Debug)]
pub(crate) struct Loader {
    tables: FeatureTables,
    table: String,
    columns: Vec<String>,
    /// The store's own: a request that is cancelled takes no query of others with it.
    runtime: Handle,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cache: RowCache,
    wanted: Vec<Wanted>,
    /// Ids of these.
    waiting: usize,
    /// Who reads, if somebody does.
    reader: Option<u64>,
    /// How many there were.
    readers: u64,
}

#[derive(Debug)]
struct Wanted {
    ids: Vec<Bytes>,
    reply: oneshot::Sender<Reply>,
}

/// The rows of all ids that were read together.
type Reply = Result<Arc<HashMap<Bytes, Row>>, Arc<StoreError>>;

impl State {
    /// Takes what is known of some ids, and returns the others, each once.
    fn look_up(&self, ids: &[Bytes], rows: &mut HashMap<Bytes, Row>) -> Vec<Bytes> {
        let now = Instant::now();
        let mut unknown = HashSet::new();
        for id in ids {
            match self.cache.get(id, now) {
                Some(row) => drop(rows.insert(id.clone(), row)),
                None => drop(unknown.insert(id)),
            }
        }
        unknown.into_iter().cloned().collect()
    }

    fn want(&mut self, ids: Vec<Bytes>) -> Result<oneshot::Receiver<Reply>, Arc<StoreError>> {
        if self.waiting.saturating_add(ids.len()) > MAX_WAITING {
            return Err(Arc::new(StoreError::NoConnection { waited: Duration::ZERO }));
        }
        let (reply, receiver) = oneshot::channel();
        self.waiting += ids.len();
        self.wanted.push(Wanted { ids, reply });
        Ok(receiver)
    }

    /// The number of a new reader, where there is none.
    fn begin_reading(&mut self) -> Option<u64> {
        if self.reader.is_some() {
            return None;
        }
        self.readers += 1;
        self.reader = Some(self.readers);
        self.reader
    }
}

impl Loader {
    /// Reads these columns of a table.
    pub(crate) fn new(
        tables: FeatureTables,
        runtime: Handle,
        (table, columns): (String, Vec<String>),
        ttl: Duration,
    ) -> Self {
        let state = State {
            cache: RowCache::new(ttl),
            wanted: Vec::new(),
            waiting: 0,
            reader: None,
            readers: 0,
        };
        Self { tables, table, columns, runtime, state: Mutex::new(state) }
    }

    /// The rows of these ids.
    ///
    /// # Errors
    /// The database could not be asked, or not in time.
    pub(crate) async fn rows(
        self: &Arc<Self>,
        ids: &[Bytes],
    ) -> Result<HashMap<Bytes, Row>, Arc<StoreError>> {
        let mut rows = HashMap::with_capacity(ids.len());
        let (unknown, reply, reading) = {
            let mut state = self.state.lock();
            let unknown = state.look_up(ids, &mut rows);
            if unknown.is_empty() {
                return Ok(rows);
            }
            let reply = state.want(unknown.clone())?;
            let reading = state.begin_reading().map(|number| Reading { loader: Arc::clone(self), number });
            (unknown, reply, reading)
        };
        if let Some(reading) = reading {
            // A runtime that has ended drops it at once.
            drop(self.runtime.spawn(reading.run()));
        }
        let read = reply.await.map_err(|_| Arc::new(StoreError::Database(sqlx::Error::PoolClosed)))??;
        rows.extend(unknown.into_iter().map(|id| {
            let row = read.get(&id).cloned().flatten();
            (id, row)
        }));
        Ok(rows)
    }

    /// What is read next, as far as anybody still waits for it; `None` where nothing is, and the next one to want something
    /// begins anew.
    fn take(&self) -> Option<Vec<Wanted>> {
        let mut state = self.state.lock();
        let (mut taken, mut count) = (Vec::new(), 0);
        while count < MAX_IDS && !state.wanted.is_empty() {
            let next = state.wanted.remove(0);
            state.waiting -= next.ids.len();
            if !next.reply.is_closed() {
                count += next.ids.len();
                taken.push(next);
            }
        }
        if taken.is_empty() {
            state.reader = None;
            return None;
        }
        Some(taken)
    }

    async fn read(&self, ids: &[Bytes]) -> Result<HashMap<Bytes, Row>, StoreError> {
        let rows = self.tables.fetch(&self.table, ids, &self.columns).await?;
        Ok(ids.iter().cloned().zip(rows.into_iter().map(|row| row.map(Arc::from))).collect())
    }
}

/// The one who reads for a loader.
struct Reading {
    loader: Arc<Loader>,
    number: u64,
}

impl Reading {
    /// Reads what is wanted until nothing is.
    async fn run(self) {
        let loader = &self.loader;
        while let Some(wanted) = loader.take() {
            let ids: HashSet<&Bytes> = wanted.iter().flat_map(|wanted| &wanted.ids).collect();
            let ids: Vec<Bytes> = ids.into_iter().cloned().collect();
            let outcome = loader.read(&ids).await.map(Arc::new).map_err(Arc::new);
            if let Ok(rows) = &outcome {
                let (mut state, now) = (loader.state.lock(), Instant::now());
                for id in ids {
                    let row = rows.get(&id).cloned().flatten();
                    state.cache.put(id, row, now);
                }
            }
            for Wanted { reply, .. } in wanted {
                // Whoever has gone needs no answer.
                let _ = reply.send(outcome.clone());
            }
        }
    }
}

impl Drop for Reading {
    /// Where the store is closed nobody reads any more, and whoever waits is told. At the usual end nobody waits.
    fn drop(&mut self) {
        let mut state = self.loader.state.lock();
        if state.reader == Some(self.number) {
            state.reader = None;
            state.waiting = 0;
            state.wanted.clear();
        }
    }
}
