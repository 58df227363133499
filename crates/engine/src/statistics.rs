use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use adulis_telemetry::FailureReason;
use adulis_types::{
    BatchStatistics, DurationStatistic, ErrorKind, InferenceStatistics, ModelStatistics, ResponseStatistics,
    StageTimings,
};
use parking_lot::Mutex;

/// Batches of up to this many rows are counted without a lock.
const SMALL_BATCHES: usize = 64;

/// Counts and cumulative times of one model version since it was loaded, for Triton's statistics extension.
///
/// Counting is relaxed additions, some per request and some per execution; only executions of more than
/// [`SMALL_BATCHES`] rows take a lock. A reader may see a request's count before its time.
#[derive(Debug)]
pub(crate) struct Statistics {
    /// One moment on both clocks, so that no request has to ask for the time of day.
    start: (Instant, Duration),
    /// Milliseconds since 1970; 0 for never.
    last_inference: AtomicU64,
    rows: AtomicU64,
    success: Sum,
    /// Requests that the response cache answered, and those that it did not; with the time that this took.
    cache_hit: Sum,
    cache_miss: Sum,
    /// Requests that failed, by reason.
    failures: [AtomicU64; FailureReason::ALL.len()],
    fail: Time,
    // Of requests that succeeded: their count is that of `success`, and of the last three without those from the cache.
    queue: Time,
    compute_input: Time,
    compute_infer: Time,
    compute_output: Time,
    /// By rows, from one on.
    small: Box<[Batches]>,
    large: Mutex<BTreeMap<usize, BatchStatistics>>,
    /// Of decoupled models, by their index among the answers of a request.
    responses: Mutex<BTreeMap<u64, ResponseStatistics>>,
}

/// Positions of answers that are counted each for itself; what comes behind them is not.
const MAX_POSITIONS: u64 = 1024;

/// How it went with one answer of a decoupled model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Answered,
    /// An end without an answer.
    Empty,
    Failed,
    /// Nobody waited for it any more.
    Cancelled,
}

impl Statistics {
    /// All zero, for a model that takes this many rows at a time.
    pub(crate) fn new(max_rows: usize) -> Self {
        let small = (0..max_rows.clamp(1, SMALL_BATCHES)).map(|_| Batches::default());
        Self {
            start: (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            last_inference: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            success: Sum::default(),
            cache_hit: Sum::default(),
            cache_miss: Sum::default(),
            failures: Default::default(),
            fail: Time::default(),
            queue: Time::default(),
            compute_input: Time::default(),
            compute_infer: Time::default(),
            compute_output: Time::default(),
            small: small.collect(),
            large: Mutex::default(),
            responses: Mutex::default(),
        }
    }

    /// Counts a request that was answered.
    pub(crate) fn succeeded(&self, request: &Answered) {
        let Answered { arrived, answered, rows, timings, cache } = request;
        match cache {
            Some((true, took)) => self.cache_hit.add(*took),
            Some((false, took)) => self.cache_miss.add(*took),
            None => {}
        }
        self.rows.fetch_add(*rows as u64, Ordering::Relaxed);
        self.queue.add(timings.queue + timings.batch);
        self.compute_input.add(timings.compute_input);
        self.compute_infer.add(timings.compute_infer);
        self.compute_output.add(timings.compute_output);
        self.success.add(answered.saturating_duration_since(*arrived));
        let (start, since_1970) = self.start;
        let ended = since_1970 + answered.saturating_duration_since(start);
        let milliseconds = u64::try_from(ended.as_millis()).unwrap_or(u64::MAX);
        self.last_inference.store(milliseconds, Ordering::Relaxed);
    }

    /// Counts a request that was not, and how long it took.
    pub(crate) fn failed(&self, kind: ErrorKind, took: Duration) {
        self.failures[FailureReason::of(kind) as usize].fetch_add(1, Ordering::Relaxed);
        self.fail.add(took);
    }

    /// Requests that failed so far, by reason.
    pub(crate) fn failures(&self) -> [u64; FailureReason::ALL.len()] {
        self.failures.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Counts an execution of this many rows that went well.
    pub(crate) fn executed(&self, rows: usize, timings: &StageTimings) {
        if let Some(batches) = rows.checked_sub(1).and_then(|index| self.small.get(index)) {
            batches.count.fetch_add(1, Ordering::Relaxed);
            batches.compute_input.add(timings.compute_input);
            batches.compute_infer.add(timings.compute_infer);
            batches.compute_output.add(timings.compute_output);
            return;
        }
        let mut large = self.large.lock();
        let batches = large.entry(rows).or_default();
        batches.batch_size = rows as u64;
        for (stage, time) in [
            (&mut batches.compute_input, timings.compute_input),
            (&mut batches.compute_infer, timings.compute_infer),
            (&mut batches.compute_output, timings.compute_output),
        ] {
            stage.count += 1;
            stage.total += time;
        }
    }

    /// Counts one answer of a decoupled model: what it took to compute since the one before, and to hand on.
    pub(crate) fn responded(&self, index: u64, position: Position, computed: Duration, sending: Duration) {
        if index >= MAX_POSITIONS {
            return;
        }
        let mut responses = self.responses.lock();
        let counted = responses.entry(index).or_default();
        let add = |statistic: &mut DurationStatistic, time: Duration| {
            statistic.count += 1;
            statistic.total += time;
        };
        let whole = computed + sending;
        match position {
            Position::Answered => {
                add(&mut counted.compute_infer, computed);
                add(&mut counted.compute_output, sending);
                add(&mut counted.success, whole);
            }
            Position::Empty => add(&mut counted.empty_response, whole),
            Position::Failed => add(&mut counted.fail, whole),
            Position::Cancelled => add(&mut counted.cancel, whole),
        }
    }

    /// What has been counted so far.
    pub(crate) fn read(&self, name: &Arc<str>, version: u64) -> ModelStatistics {
        let small = self.small.iter().zip(1..).filter_map(|(batches, rows)| batches.read(rows));
        let batches: Vec<BatchStatistics> = small.chain(self.large.lock().values().copied()).collect();
        let success = self.success.read();
        let (cache_hit, cache_miss) = (self.cache_hit.read(), self.cache_miss.read());
        let queue = DurationStatistic { count: success.count, total: self.queue.read() };
        // As in Triton: what the cache answered was queued, for no time, and not computed.
        let computed = success.count.saturating_sub(cache_hit.count);
        let of_computed = |time: &Time| DurationStatistic { count: computed, total: time.read() };
        ModelStatistics {
            name: Arc::clone(name),
            version,
            last_inference: Duration::from_millis(self.last_inference.load(Ordering::Relaxed)),
            inference_count: self.rows.load(Ordering::Relaxed),
            execution_count: batches.iter().map(|batch| batch.compute_infer.count).sum(),
            inference: InferenceStatistics {
                success,
                fail: DurationStatistic { count: self.failures().iter().sum(), total: self.fail.read() },
                queue,
                compute_input: of_computed(&self.compute_input),
                compute_infer: of_computed(&self.compute_infer),
                compute_output: of_computed(&self.compute_output),
                cache_hit,
                cache_miss,
            },
            responses: self.responses.lock().clone(),
            batches,
        }
    }
}

/// A request that was answered, from its arrival on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) arrived: Instant,
    pub(crate) answered: Instant,
    pub(crate) rows: usize,
    pub(crate) timings: StageTimings,
    /// Whether the response cache knew it, if it was asked, and how long that took.
    pub(crate) cache: Option<(bool, Duration)>,
}

/// A sum of durations, in nanoseconds: enough for five hundred years.
#[derive(Debug, Default)]
struct Time(AtomicU64);

impl Time {
    fn add(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn read(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Debug, Default)]
struct Sum {
    count: AtomicU64,
    total: Time,
}

impl Sum {
    fn add(&self, time: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total.add(time);
    }

    fn read(&self) -> DurationStatistic {
        DurationStatistic { count: self.count.load(Ordering::Relaxed), total: self.total.read() }
    }
}

/// Executions of one batch size.
#[derive(Debug, Default)]
struct Batches {
    count: AtomicU64,
    compute_input: Time,
    compute_infer: Time,
    compute_output: Time,
}

impl Batches {
    /// `None` if there were none.
    fn read(&self, batch_size: u64) -> Option<BatchStatistics> {
        let count = self.count.load(Ordering::Relaxed);
        let stage = |time: &Time| DurationStatistic { count, total: time.read() };
        (count > 0).then(|| BatchStatistics {
            batch_size,
            compute_input: stage(&self.compute_input),
            compute_infer: stage(&self.compute_infer),
            compute_output: stage(&self.compute_output),
        })
    }
}

#[cfg(test)]
mod tests;
