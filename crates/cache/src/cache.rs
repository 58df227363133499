use std::sync::Arc;
use std::time::Duration;

use adulis_tensor::{DataType, ShapePattern, Tensor};
use adulis_types::{CacheStatus, StageTimings};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::entry::{Entry, Freshness, Life, Outcome, weight};
use crate::flight::{Flights, Lead};
use crate::key::{Key, ModelKeys, Question};
use crate::memory::MemoryTier;
use crate::plan::{Plan, State};
use crate::purging::{Marks, Purging};
use crate::scope::{Counted, Scope};
use crate::value::Answer;
use crate::{CacheSettings, GuardedTier, ModelPolicy};

/// The response cache of a server: what all its models share.
pub struct ResponseCache {
    pub(crate) settings: CacheSettings,
    pub(crate) memory: MemoryTier,
    pub(crate) flights: Arc<Flights>,
    pub(crate) shared: Option<GuardedTier>,
    pub(crate) purging: Purging,
}

/// What a model version's requests are looked up with.
pub struct ModelCache {
    pub(crate) cache: Arc<ResponseCache>,
    pub(crate) keys: ModelKeys,
    pub(crate) scope: Arc<Scope>,
    pub(crate) marks: Marks,
    pub(crate) policy: ModelPolicy,
    /// What its outputs are, for what comes from outside.
    pub(crate) outputs: Vec<(DataType, ShapePattern)>,
}

/// What a look into the memory tier showed.
pub enum Look {
    /// Everything is known.
    Known(Found),
    /// Something is not, or what is known does not make an answer: [`ModelCache::resolve`] finds out.
    Search(Search),
    /// The request cannot be looked up: its rows are not what they are said to be.
    Nothing,
}

/// A request that is on its way to its answer.
pub struct Search {
    pub(crate) plan: Plan,
    /// The outputs that are wanted, `None` for all.
    pub(crate) outputs: Option<SmallVec<[usize; 4]>>,
    /// The oldest that was known.
    pub(crate) age: Duration,
    /// Whether some of what was known was out of date.
    pub(crate) is_stale: bool,
    /// Of that, what is to be computed anew while the answer is found.
    refresh: Option<Refresh>,
    pub(crate) spent: Duration,
    /// Whether anything of it is looked up at all.
    pub(crate) looks: bool,
}

/// An answer, and how it was found.
pub struct Found {
    /// The outputs that were asked for, in the signature's order.
    pub answer: Answer,
    /// How it was found.
    pub status: CacheStatus,
    /// How long ago it was computed, its oldest row.
    pub age: Duration,
    /// Rows that ran for it; where requests are looked up whole, all or none.
    pub rows_run: usize,
    /// Where the time of its runs went.
    pub timings: StageTimings,
    /// How long it took to look it up, and to remember it.
    pub spent: Duration,
    /// What is to be computed anew while the answer is given.
    pub refresh: Option<Refresh>,
}

/// Rows that are out of date, and that are this one's to compute.
pub struct Refresh {
    pub(crate) leads: Vec<(usize, Lead)>,
    pub(crate) outputs: Option<SmallVec<[usize; 4]>>,
    pub(crate) rows: usize,
}

impl ResponseCache {
    /// An empty cache, with the tier that replicas share behind it if there is one.
    #[must_use]
    pub fn new(settings: CacheSettings, shared: Option<GuardedTier>) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryTier::new(settings.memory_bytes, settings.max_entry_bytes),
            flights: Flights::new(),
            shared,
            purging: Purging::new(&settings.namespace),
            settings,
        })
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> &CacheSettings {
        &self.settings
    }

    /// The tier that replicas share.
    #[must_use]
    pub fn shared(&self) -> Option<&GuardedTier> {
        self.shared.as_ref()
    }

    /// Answers in memory.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.memory.entries()
    }

    /// What they take there; never more than [`ResponseCache::capacity`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory.bytes()
    }

    /// Most bytes that answers take in memory.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.memory.capacity()
    }

    /// Purges that other replicas could not be told of yet.
    #[must_use]
    pub fn purges_pending(&self) -> u64 {
        self.purging.untold()
    }
}

impl ModelCache {
    /// The cache of one model version, whose outputs are these.
    #[must_use]
    pub fn new(
        cache: Arc<ResponseCache>,
        (keys, scope): (ModelKeys, Arc<Scope>),
        policy: ModelPolicy,
        outputs: Vec<(DataType, ShapePattern)>,
    ) -> Self {
        let marks = cache.purging.marks(scope.model());
        Self { cache, keys, scope, marks, policy, outputs }
    }

    /// How its answers are kept.
    #[must_use]
    pub fn policy(&self) -> &ModelPolicy {
        &self.policy
    }

    /// What has been counted of it.
    #[must_use]
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// The rows by which a request of `rows` rows is looked up; `None` where it is looked up whole.
    #[must_use]
    pub fn rows_of(&self, rows: usize) -> Option<usize> {
        (self.policy.row_wise && rows <= self.cache.settings.max_rows).then_some(rows)
    }

    /// Looks a request up in memory. Takes no lock for long, waits for nothing, and allocates nothing but the answer where a
    /// single row, or a whole request, is known.
    #[must_use]
    pub fn look_up(&self, question: &Question<'_>) -> Look {
        let now = Instant::now();
        let Some(keys) = self.keys.of(question) else {
            return Look::Nothing;
        };
        if let [key] = keys.as_slice() {
            return match self.cache.memory.get(key, now) {
                Some((entry, freshness)) if entry.answer().is_some() => {
                    Look::Known(self.known(question, &entry, *key, (freshness, now)))
                }
                _ => Look::Search(self.search(question, Plan::new(&keys), now)),
            };
        }
        let mut plan = Plan::new(&keys);
        let (mut age, mut stale) = (Duration::ZERO, Vec::new());
        for slot in 0..plan.slots().len() {
            let key = plan.slots()[slot].key;
            let Some((entry, freshness)) = self.cache.memory.get(&key, now) else {
                continue;
            };
            age = age.max(entry.age(now));
            if freshness == Freshness::Stale {
                stale.push((plan.slots()[slot].row, key));
            }
            plan.set(slot, State::Known(entry));
        }
        let complete = plan.missing().next().is_none();
        let (rows, is_stale) = (plan.rows(), !stale.is_empty());
        let refresh = self.refresh(question, stale, rows);
        match plan.answer().filter(|_| complete) {
            None => Look::Search(Search { age, is_stale, refresh, ..self.search(question, plan, now) }),
            Some(answer) => {
                let status = if is_stale { CacheStatus::Stale } else { CacheStatus::Hit };
                let found = Found { answer, status, age, refresh, ..Found::nothing(now) };
                self.count(&found, rows);
                Look::Known(found)
            }
        }
    }

    /// A request that is run whatever is known, and what it gives remembered.
    #[must_use]
    pub fn anew(&self, question: &Question<'_>) -> Look {
        match self.keys.of(question) {
            None => Look::Nothing,
            Some(keys) => {
                let now = Instant::now();
                Look::Search(Search { looks: false, ..self.search(question, Plan::new(&keys), now) })
            }
        }
    }

    /// Counts a request that did not want to be looked up.
    pub fn bypassed(&self) {
        self.scope.count(Counted::Bypass);
    }

    fn known(
        &self,
        question: &Question<'_>,
        entry: &Entry,
        key: Key,
        (freshness, now): (Freshness, Instant),
    ) -> Found {
        let (status, refresh) = match freshness {
            Freshness::Stale => (CacheStatus::Stale, self.refresh(question, vec![(0, key)], 1)),
            _ => (CacheStatus::Hit, None),
        };
        let answer = entry.answer().cloned().unwrap_or_default();
        let found = Found { answer, status, age: entry.age(now), refresh, ..Found::nothing(now) };
        self.count(&found, 1);
        found
    }

    fn search(&self, question: &Question<'_>, plan: Plan, began: Instant) -> Search {
        Search {
            plan,
            outputs: question.outputs.map(SmallVec::from_slice),
            age: Duration::ZERO,
            is_stale: false,
            refresh: None,
            spent: began.elapsed(),
            looks: true,
        }
    }

    /// Takes what is out of date upon this request, as far as nobody is at it.
    fn refresh(&self, question: &Question<'_>, stale: Vec<(usize, Key)>, rows: usize) -> Option<Refresh> {
        if stale.is_empty() {
            return None;
        }
        let leads = stale
            .into_iter()
            .filter_map(|(row, key)| Some((row, self.cache.flights.lead(key)?)))
            .collect::<Vec<_>>();
        let outputs = question.outputs.map(SmallVec::from_slice);
        (!leads.is_empty()).then_some(Refresh { leads, outputs, rows })
    }

    /// Counts a request that has its answer.
    pub(crate) fn count(&self, found: &Found, rows: usize) {
        self.scope.count(match found.status {
            CacheStatus::Hit => Counted::Hit,
            CacheStatus::Stale => Counted::Stale,
            CacheStatus::Coalesced => Counted::Coalesced,
            CacheStatus::Miss => Counted::Miss,
            CacheStatus::Bypass => Counted::Bypass,
        });
        self.scope.count_rows(rows.saturating_sub(found.rows_run), found.rows_run);
    }

    /// Remembers how a key's question was answered `age` ago, which was begun when so many purges had been. What is too large, or
    /// was purged meanwhile, is only handed on.
    pub(crate) fn remember(&self, key: Key, outcome: Outcome, (age, purges): (Duration, u64)) -> Arc<Entry> {
        let now = Instant::now();
        let computed = now.checked_sub(age).unwrap_or(now);
        let (ttl, stale) = match &outcome {
            Outcome::Failure(_) => (Some(self.policy.negative_ttl), Duration::ZERO),
            Outcome::Answer(_) => (self.jittered(&key), self.policy.stale_while_revalidate),
        };
        let fresh_until = ttl.and_then(|ttl| computed.checked_add(ttl));
        let stale_until = fresh_until.and_then(|until| until.checked_add(stale));
        let life = Life { computed, fresh_until, stale_until };
        if purges != self.marks.count() || !self.cache.memory.takes(weight(&outcome)) {
            return Arc::new(Entry::passing(outcome, life));
        }
        let entry = Arc::new(Entry::owned(outcome, life, &self.scope));
        self.cache.memory.insert(key, Arc::clone(&entry));
        // A purge that came between may have looked through the memory before it was there.
        if purges != self.marks.count() {
            self.cache.memory.remove(&key);
        }
        entry
    }

    /// How long an answer is given: a little shorter for each, by its key, which is as good as chance.
    fn jittered(&self, key: &Key) -> Option<Duration> {
        let [first, second, ..] = *key.as_bytes();
        let chance = f64::from(u16::from_le_bytes([first, second])) / f64::from(u16::MAX);
        let part = 1.0 - self.cache.settings.jitter.clamp(0.0, 1.0) * chance;
        self.policy.ttl.map(|ttl| ttl.mul_f64(part))
    }

    /// Whether an answer from outside can be one of this model to these outputs.
    pub(crate) fn fits(&self, answer: &Answer, outputs: Option<&[usize]>, is_row: bool) -> bool {
        let fits = |index: usize, tensor: &Tensor| {
            self.outputs.get(index).is_some_and(|(datatype, shape)| {
                tensor.datatype() == *datatype
                    && shape.matches(tensor.shape())
                    && (!is_row || tensor.shape().rows() == Some(1))
            })
        };
        let mut tensors = answer.outputs.iter();
        match outputs {
            None => {
                answer.outputs.len() == self.outputs.len()
                    && tensors.enumerate().all(|(index, tensor)| fits(index, tensor))
            }
            Some(wanted) => {
                answer.outputs.len() == wanted.len()
                    && wanted.iter().all(|index| tensors.next().is_some_and(|tensor| fits(*index, tensor)))
            }
        }
    }
}

impl Search {
    /// What is to be computed anew beside the search: rows that are known and out of date. It is whoever takes it who runs it,
    /// and at once: others may wait for it, and the search waits for others.
    #[must_use]
    pub fn take_refresh(&mut self) -> Option<Refresh> {
        self.refresh.take()
    }

    /// How long the look into memory took.
    #[must_use]
    pub fn spent(&self) -> Duration {
        self.spent
    }
}

impl Found {
    /// The answer of a request that did not want to be looked up, and that `rows` rows were run for.
    #[must_use]
    pub fn bypassed(answer: Answer, timings: StageTimings, rows: usize) -> Self {
        let (status, age, spent) = (CacheStatus::Bypass, Duration::ZERO, Duration::ZERO);
        Self { answer, status, age, rows_run: rows, timings, spent, refresh: None }
    }

    /// Nothing found, looked for since `began`.
    pub(crate) fn nothing(began: Instant) -> Self {
        Self {
            answer: Answer::default(),
            status: CacheStatus::Hit,
            age: Duration::ZERO,
            rows_run: 0,
            timings: StageTimings::default(),
            spent: began.elapsed(),
            refresh: None,
        }
    }
}
