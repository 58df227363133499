//! A model and a shared tier for tests: what they are asked is counted, and they fail, freeze and lie on demand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use adulis_types::{BoxFuture, ErrorKind, Failure, StageTimings};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::value::Answer;
use crate::{
    CacheSettings, Compute, Computed, Found, GuardedTier, Holder, Inputs, Key, Look, MarkChange, ModelCache,
    ModelDigest, ModelPolicy, Question, ResponseCache, Scope, SharedTier, StoredValue, TierError,
};

/// Rows of two bytes.
pub(crate) fn rows(values: &[u8]) -> Inputs {
    let data: Vec<u8> = values.iter().flat_map(|value| [*value, value.wrapping_add(1)]).collect();
    vec![(0, Tensor::new(DataType::Uint8, Shape::from([values.len(), 2]), data.into()).unwrap())]
}

/// What the model answers, row by row: each byte tripled, and the sum of both.
pub(crate) fn answer_to(inputs: &Inputs) -> Answer {
    let tensor = &inputs[0].1;
    let rows = tensor.shape()[0];
    let tripled: Vec<u8> = tensor.data().iter().map(|byte| byte.wrapping_mul(3)).collect();
    let sums: Vec<u8> = tensor.data().chunks(2).map(|row| row[0].wrapping_add(row[1])).collect();
    let outputs = vec![
        Tensor::new(DataType::Uint8, Shape::from([rows, 2]), tripled.into()).unwrap(),
        Tensor::new(DataType::Uint8, Shape::from([rows]), sums.into()).unwrap(),
    ];
    Answer { outputs, ..Answer::default() }
}

/// How a test's model fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does, in a way that would be the same each time.
    Model,
    /// The request's time is over.
    Late,
    /// It did before.
    Recalled,
}

/// A model that takes its time.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) takes: Duration,
    /// Values of rows as they were run, run by run.
    pub(crate) runs: Mutex<Vec<Vec<u8>>>,
    /// Runs that fail and runs that panic, by number.
    pub(crate) failing: Vec<usize>,
    pub(crate) panicking: Vec<usize>,
    /// Rows that are being run now.
    pub(crate) running: Mutex<Vec<u8>>,
    /// Whether a row was ever run twice at a time.
    pub(crate) overlapped: AtomicBool,
}

impl Model {
    pub(crate) fn taking(milliseconds: u64) -> Self {
        Self { takes: Duration::from_millis(milliseconds), ..Self::default() }
    }

    pub(crate) fn run_count(&self) -> usize {
        self.runs.lock().len()
    }
}

/// Rows of a run, as long as it lasts.
struct Running<'a>(&'a Model, Vec<u8>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.lock().retain(|value| !self.1.contains(value));
    }
}

impl Compute for Model {
    type Error = Fault;

    async fn run(&self, inputs: Inputs, rows: Option<usize>) -> Result<Computed, Fault> {
        let values: Vec<u8> = inputs[0].1.data().chunks(2).map(|row| row[0]).collect();
        assert!(rows.is_none_or(|rows| rows == values.len()));
        let number = {
            let mut runs = self.runs.lock();
            runs.push(values.clone());
            runs.len() - 1
        };
        let _running = {
            let mut running = self.running.lock();
            if values.iter().any(|value| running.contains(value)) {
                self.overlapped.store(true, Ordering::Relaxed);
            }
            running.extend(&values);
            Running(self, values)
        };
        tokio::time::sleep(self.takes).await;
        assert!(!self.panicking.contains(&number), "on purpose");
        if self.failing.contains(&number) {
            return Err(Fault::Model);
        }
        Ok(Computed { answer: answer_to(&inputs), timings: StageTimings::default() })
    }

    fn late(&self) -> Fault {
        Fault::Late
    }

    fn lasting(&self, error: &Fault) -> Option<Failure> {
        (*error == Fault::Model).then(|| Failure::new(ErrorKind::Internal, "it fails"))
    }

    fn recalled(&self, _: &Failure) -> Fault {
        Fault::Recalled
    }
}

/// The cache of that model, row by row.
pub(crate) fn model_cache(
    settings: CacheSettings,
    policy: ModelPolicy,
    tier: Option<GuardedTier>,
) -> ModelCache {
    let cache = ResponseCache::new(settings, tier);
    let keys = ModelDigest::new("m", 1).finish();
    let outputs = vec![
        (DataType::Uint8, ShapePattern::new(&[-1, 2])),
        (DataType::Uint8, ShapePattern::new(&[-1])),
    ];
    ModelCache::new(cache, (keys, Scope::new("m".into(), 1)), policy, outputs)
}

pub(crate) fn by_rows() -> ModelPolicy {
    ModelPolicy { row_wise: true, ..ModelPolicy::default() }
}

/// Asks as the engine does.
pub(crate) async fn ask(
    cache: &ModelCache,
    model: &Model,
    values: &[u8],
    deadline: Option<Instant>,
) -> Result<Found, Fault> {
    let inputs = rows(values);
    let count = cache.rows_of(values.len());
    let question = Question { inputs: &inputs, rows: count, outputs: None, told: None };
    match cache.look_up(&question) {
        Look::Known(found) => Ok(found),
        Look::Search(mut search) => {
            let refresh = search.take_refresh();
            let again = inputs.clone();
            // Beside the search, as a task of its own would be.
            let anew = async {
                if let Some(refresh) = refresh {
                    // What fails stays as it was.
                    let _ = cache.revalidate(refresh, (again, count), model).await;
                }
            };
            tokio::join!(cache.resolve(search, (inputs, count), model, deadline), anew).0
        }
        Look::Nothing => panic!("rows can be cut"),
    }
}

/// A shared tier in memory.
#[derive(Default)]
pub(crate) struct FakeTier {
    pub(crate) values: Mutex<HashMap<Key, (Bytes, Duration)>>,
    pub(crate) leases: Mutex<HashMap<Key, (Holder, Instant)>>,
    pub(crate) marks: Mutex<HashMap<Key, Bytes>>,
    pub(crate) calls: AtomicUsize,
    /// It answers nothing any more.
    pub(crate) is_frozen: AtomicBool,
    /// It refuses everything.
    pub(crate) is_broken: AtomicBool,
    /// It is left alone.
    pub(crate) is_left_alone: AtomicBool,
    /// Times that a lease was refused.
    refusals: AtomicUsize,
    /// What whoever has a lease writes, before it gives that back, when the lease is asked for again.
    pub(crate) finishing: Mutex<Option<(Key, (Bytes, Duration))>>,
}

impl FakeTier {
    async fn called(&self) -> Result<(), TierError> {
        if self.is_left_alone.load(Ordering::Relaxed) {
            return Err(TierError::Open);
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.is_frozen.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(TierError::failed("broken on purpose"));
        }
        Ok(())
    }
}

/// The same as a cache sees it.
pub(crate) fn guarded(tier: &Arc<FakeTier>) -> GuardedTier {
    GuardedTier::new(Arc::clone(tier) as Arc<dyn SharedTier>, Duration::from_millis(20))
}

impl SharedTier for FakeTier {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn is_left_alone(&self) -> bool {
        self.is_left_alone.load(Ordering::Relaxed)
    }

    fn get_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, TierError>> {
        Box::pin(async move {
            self.called().await?;
            let values = self.values.lock();
            Ok(keys.iter().map(|key| values.get(key).map(|(value, _)| value.clone())).collect())
        })
    }

    fn set_many<'a>(&'a self, values: &'a [StoredValue]) -> BoxFuture<'a, Result<(), TierError>> {
        Box::pin(async move {
            self.called().await?;
            let stored = values.iter().map(|stored| (stored.key, (stored.value.clone(), stored.ttl)));
            self.values.lock().extend(stored);
            Ok(())
        })
    }

    fn lease<'a>(
        &'a self,
        key: &'a Key,
        holder: Holder,
        duration: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        Box::pin(async move {
            self.called().await?;
            let now = Instant::now();
            let mut leases = self.leases.lock();
            if self.refusals.load(Ordering::Relaxed) > 0
                && let Some((key, value)) = self.finishing.lock().take()
            {
                self.values.lock().insert(key, value);
                leases.clear();
            }
            if leases.get(key).is_some_and(|(_, until)| now < *until) {
                self.refusals.fetch_add(1, Ordering::Relaxed);
                return Ok(false);
            }
            leases.insert(*key, (holder, now + duration));
            Ok(true)
        })
    }

    fn release<'a>(&'a self, key: &'a Key, holder: Holder) -> BoxFuture<'a, Result<(), TierError>> {
        Box::pin(async move {
            self.called().await?;
            let mut leases = self.leases.lock();
            if leases.get(key).is_some_and(|(held_by, _)| *held_by == holder) {
                leases.remove(key);
            }
            Ok(())
        })
    }

    fn marks<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, TierError>> {
        Box::pin(async move {
            self.called().await?;
            let marks = self.marks.lock();
            Ok(keys.iter().map(|key| marks.get(key).cloned()).collect())
        })
    }

    fn replace_mark<'a>(
        &'a self,
        key: &'a Key,
        change: &'a MarkChange,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        Box::pin(async move {
            self.called().await?;
            let mut marks = self.marks.lock();
            if marks.get(key) != change.old.as_ref() {
                return Ok(false);
            }
            marks.insert(*key, Bytes::copy_from_slice(&change.new));
            Ok(true)
        })
    }
}
