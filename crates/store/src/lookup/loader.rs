use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::cache::{Row, RowCache};
use super::source::{Source, SourceError, Words};

/// Ids that are read together.
const MAX_IDS: usize = 4096;
/// Ids that may wait.
const MAX_WAITING: usize = 200_000;

/// Reads rows of a source by id: those that several requests want at the same time with one query. While one is under way, the
/// ids of the next gather.
#[derive(Debug)]
pub(crate) struct Loader {
    source: Arc<dyn Source>,
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
type Reply = Result<Arc<HashMap<Bytes, Row>>, SourceError>;

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

    fn want(&mut self, ids: Vec<Bytes>) -> Result<oneshot::Receiver<Reply>, SourceError> {
        if self.waiting.saturating_add(ids.len()) > MAX_WAITING {
            return Err(SourceError::Busy);
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
    /// Reads this source; a row that was read may be used again for so long.
    pub(crate) fn new(source: Arc<dyn Source>, ttl: Duration) -> Self {
        let state = State {
            cache: RowCache::new(ttl),
            wanted: Vec::new(),
            waiting: 0,
            reader: None,
            readers: 0,
        };
        Self { source, state: Mutex::new(state) }
    }

    /// How its source calls the parts of a row.
    pub(crate) fn words(&self) -> Words {
        self.source.words()
    }

    /// The rows of these ids.
    ///
    /// # Errors
    /// The source could not be asked, or not in time.
    pub(crate) async fn rows(self: &Arc<Self>, ids: &[Bytes]) -> Result<HashMap<Bytes, Row>, SourceError> {
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
            self.spawn(reading);
        }
        let read = reply.await.map_err(|_| SourceError::Ended)??;
        rows.extend(unknown.into_iter().map(|id| {
            let row = read.get(&id).cloned().flatten();
            (id, row)
        }));
        Ok(rows)
    }

    /// Lets it read in a task of its own: a request that is cancelled takes no query of others with it. A runtime that has ended
    /// drops it at once.
    fn spawn(&self, reading: Reading) {
        match self.source.runtime() {
            Some(runtime) => drop(runtime.spawn(reading.run())),
            None => drop(Handle::try_current().map(|runtime| runtime.spawn(reading.run()))),
        }
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

    /// Reads these ids, and keeps what there is.
    async fn read(&self, ids: &[Bytes]) -> Reply {
        let rows = self.source.fetch(ids).await?;
        let rows: HashMap<Bytes, Row> =
            ids.iter().cloned().zip(rows.into_iter().map(|row| row.map(Arc::from))).collect();
        let (mut state, now) = (self.state.lock(), Instant::now());
        for (id, row) in &rows {
            state.cache.put(id.clone(), row.clone(), now);
        }
        drop(state);
        Ok(Arc::new(rows))
    }

    /// Reads what several want with one query. Where an id is at fault, halves of them are read until only those who asked for
    /// it are left, and told so.
    async fn answer(&self, wanted: Vec<Wanted>) {
        let mut groups = vec![wanted];
        while let Some(mut group) = groups.pop() {
            let outcome = self.read(&distinct(&group)).await;
            let is_of_ids = outcome.as_ref().is_err_and(|error| error.fault_of_ids().is_some());
            if is_of_ids && group.len() > 1 {
                let others = group.split_off(group.len() / 2);
                groups.extend([others, group]);
                continue;
            }
            for Wanted { reply, .. } in group {
                // Whoever has gone needs no answer.
                let _ = reply.send(outcome.clone());
            }
        }
    }
}

/// All ids that several want, each once.
fn distinct(wanted: &[Wanted]) -> Vec<Bytes> {
    let ids: HashSet<&Bytes> = wanted.iter().flat_map(|wanted| &wanted.ids).collect();
    ids.into_iter().cloned().collect()
}

/// The one who reads for a loader.
struct Reading {
    loader: Arc<Loader>,
    number: u64,
}

impl Reading {
    /// Reads what is wanted until nothing is.
    async fn run(self) {
        while let Some(wanted) = self.loader.take() {
            self.loader.answer(wanted).await;
        }
    }
}

impl Drop for Reading {
    /// Where the runtime has ended nobody reads any more, and whoever waits is told. At the usual end nobody waits.
    fn drop(&mut self) {
        let mut state = self.loader.state.lock();
        if state.reader == Some(self.number) {
            state.reader = None;
            state.waiting = 0;
            state.wanted.clear();
        }
    }
}
