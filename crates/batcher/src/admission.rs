mod lateness;
#[cfg(test)]
mod model_tests;
mod station;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::cost::Per;
use crate::{BatchPolicy, CostLines, Mix, ShapeBucket};
use lateness::Lateness;
use station::Station;

/// Share of the latest batch in what batches usually are.
const WEIGHT: f64 = 1.0 / 8.0;

/// Forecasts that are compared with what becomes of them at a time, and how many are made between two such.
const MAX_SAMPLES: usize = 8;
const SAMPLE_EVERY: u32 = 16;

/// How requests are admitted by what they will cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionPolicy {
    /// Batches that run at a time at most.
    pub parallel: usize,
    /// The longest wait in the queue that a request is admitted for; `None`: any.
    pub max_queue_time: Option<Duration>,
}

/// Where a request would stand in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Its rows; an empty request counts as one.
    pub rows: usize,
    /// Rows that are served before it, of its level and of higher ones.
    pub rows_ahead: usize,
    /// Requests that are.
    pub requests_ahead: usize,
}

/// A request as far as it is work, and what waits already.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// Where it would stand.
    pub position: Position,
    /// How large its rows are.
    pub bucket: ShapeBucket,
    /// What waits.
    pub waiting: &'a Mix,
}

impl From<Position> for Load<'_> {
    /// Where rows are all of one size.
    fn from(position: Position) -> Self {
        Self { position, bucket: ShapeBucket::NONE, waiting: Mix::EMPTY }
    }
}

/// What is expected of a request that is queued now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Until its batch begins.
    pub wait: Duration,
    /// Until that has ended.
    pub answer: Duration,
}

/// Why a request is not worth queueing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLate {
    /// It would be answered after its deadline, by so much.
    #[error("an answer is expected after {} us, which is {} us after the deadline", .expected.as_micros(), .by.as_micros())]
    Deadline {
        /// Until the answer.
        expected: Duration,
        /// After the deadline. Asked again that much later, it would be in time if nobody else asked meanwhile.
        by: Duration,
    },
    /// The run alone takes longer than the deadline allows.
    #[error("a run takes about {} us, which is longer than the deadline allows", .expected.as_micros())]
    Impossible {
        /// Of the run.
        expected: Duration,
    },
    /// It would wait for longer than is allowed, by so much.
    #[error("a wait of {} us in the queue is expected, at most {} us are allowed (max_queue_time)", .expected.as_micros(), .limit.as_micros())]
    QueueTime {
        /// In the queue.
        expected: Duration,
        /// The limit.
        limit: Duration,
    },
}

/// Foretells when requests will be answered, and says which are not worth queueing: what can't be answered before its
/// deadline, or would wait longer than is allowed.
///
/// # The forecast
/// What is ahead of a request goes in full batches, each of which takes what the cost model says, as soon as a place is
/// free; then its own batch, with whoever else is expected in it: batches are expected to be as large as they were
/// lately. A batch is full when it has as many rows as those had that left others waiting, which is less than the
/// limit where requests have many rows, or differ in class.
///
/// Where rows differ in size, a batch costs what others of its bucket did ([`CostLines`]), and each of those ahead what those
/// that wait do on average.
///
/// The cost is that of the whole time that a batch keeps its place: where others waited for it, from the moment at
/// which the place was free. So it also covers threads that are shared with other models.
///
/// Some of the forecasts are compared with what becomes of them, and the margin that deadlines are held against is
/// learnt from that.
///
/// # What is never refused
/// A request that finds nothing ahead of it and a free place: forecasts are learnt from runs, and one that was wrong
/// once must not keep all further requests out.
///
/// Requests of higher levels that come later are not foreseen, nor that batches wait for company.
#[derive(Debug)]
pub struct AdmissionControl {
    policy: AdmissionPolicy,
    merges: bool,
    max_batch_size: usize,
    cost: CostLines,
    running: SmallVec<[Running; 4]>,
    /// When places got free while requests waited that have not been taken since.
    freed: SmallVec<[Instant; 4]>,
    /// Rows of batches that left others waiting.
    full: f64,
    /// Rows of all batches.
    usual: f64,
    lateness: Lateness,
    samples: SmallVec<[Sample; MAX_SAMPLES]>,
    unsampled: u32,
}

/// A batch that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    place: usize,
    rows: usize,
    bucket: ShapeBucket,
    since: Instant,
}

/// A forecast that is compared with what becomes of it.
#[derive(Debug, Clone, Copy)]
struct Sample {
    id: u64,
    made: Instant,
    answer: Duration,
    /// Where its batch runs.
    place: Option<usize>,
}

impl AdmissionControl {
    /// What is known of a queue with this policy before its first batch: what `cost` says, typically from a warm-up.
    #[must_use]
    pub fn new(policy: AdmissionPolicy, batching: &BatchPolicy, cost: CostLines) -> Self {
        let max_batch_size = batching.max_batch_size.max(1);
        Self {
            policy,
            merges: batching.merges(),
            max_batch_size,
            cost,
            running: SmallVec::new(),
            freed: SmallVec::new(),
            full: max_batch_size as f64,
            usual: 1.0,
            lateness: Lateness::default(),
            samples: SmallVec::new(),
            unsampled: SAMPLE_EVERY,
        }
    }

    /// Whether there is anything to be checked of a request. If not, [`Self::admit`] need not be called.
    #[must_use]
    pub fn concerns(&self, deadline: Option<Instant>) -> bool {
        deadline.is_some() || self.policy.max_queue_time.is_some()
    }

    /// Whether a request, called `id`, is worth queueing. It is to be pushed then.
    ///
    /// # Errors
    /// Why not, and from when on it would be.
    pub fn admit<'a>(
        &mut self,
        (id, deadline): (u64, Option<Instant>),
        load: impl Into<Load<'a>>,
        now: Instant,
    ) -> Result<(), TooLate> {
        let (station, load) = (self.station(now), load.into());
        let Some(forecast) = self.forecast_at(&station, load) else {
            return Ok(());
        };
        if load.position.requests_ahead > 0 || !station.is_free() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            self.check(forecast, self.cost(load.bucket, load.position.rows), left)?;
        }
        self.sample(id, forecast, now);
        Ok(())
    }

    /// What is expected of a request; `None` while nothing is known.
    #[must_use]
    pub fn forecast<'a>(&self, load: impl Into<Load<'a>>, now: Instant) -> Option<Forecast> {
        self.forecast_at(&self.station(now), load.into())
    }

    /// How long a batch of so many rows of this size will keep its place; nothing while nothing is known.
    #[must_use]
    pub fn cost(&self, bucket: ShapeBucket, rows: usize) -> Duration {
        self.cost.estimate(bucket, rows).unwrap_or_default()
    }

    /// A batch of these requests begins at a place. `others_wait` says whether some are left in the queue.
    pub fn began(&mut self, batch: Began, ids: impl Iterator<Item = u64>, now: Instant) {
        let Began { place, rows, bucket, others_wait } = batch;
        let since = if self.freed.is_empty() { now } else { self.freed.remove(0) };
        self.running.push(Running { place, rows, bucket, since });
        let rows = rows as f64;
        if others_wait {
            self.full += WEIGHT * (rows - self.full);
        } else {
            self.freed.clear();
        }
        self.usual += WEIGHT * (rows - self.usual);
        if !self.samples.is_empty() {
            for id in ids {
                if let Some(sample) = self.samples.iter_mut().find(|sample| sample.id == id) {
                    sample.place = Some(place);
                }
            }
        }
    }

    /// Whether a batch runs at this place.
    #[must_use]
    pub fn runs(&self, place: usize) -> bool {
        self.running.iter().any(|running| running.place == place)
    }

    /// The batch at a place has ended. `is_typical` says whether its time tells something about others: not that of one that
    /// failed or was stopped. `others_wait` says whether some are in the queue.
    pub fn ended(&mut self, place: usize, (is_typical, others_wait): (bool, bool), now: Instant) {
        let Some(index) = self.running.iter().position(|running| running.place == place) else {
            return;
        };
        let Running { rows, bucket, since, .. } = self.running.swap_remove(index);
        if is_typical {
            self.cost.observe(bucket, rows, now.saturating_duration_since(since));
        }
        if others_wait {
            self.freed.push(now);
        }
        let ended = self.samples.iter().filter(|sample| sample.place == Some(place));
        for sample in ended {
            self.lateness.observe(sample.answer, now.saturating_duration_since(sample.made));
        }
        self.samples.retain(|sample| sample.place != Some(place));
    }

    /// Places are left free though requests wait: for company.
    pub fn rests(&mut self) {
        self.freed.clear();
    }

    /// A request left the queue without having run. If its answer was expected by now, that was an error.
    pub fn left(&mut self, id: u64, now: Instant) {
        let Some(index) = self.samples.iter().position(|sample| sample.id == id) else {
            return;
        };
        let sample = self.samples.swap_remove(index);
        let passed = now.saturating_duration_since(sample.made);
        if passed > sample.answer {
            self.lateness.observe(sample.answer, passed);
        }
    }

    fn station(&self, now: Instant) -> Station {
        let left = |running: &Running| {
            let ends = running.since + self.cost(running.bucket, running.rows);
            ends.saturating_duration_since(now)
        };
        Station::new(self.policy.parallel, self.running.iter().map(left))
    }

    fn forecast_at(&self, station: &Station, load: Load<'_>) -> Option<Forecast> {
        let Load { position: Position { rows, rows_ahead, requests_ahead }, bucket, waiting } = load;
        if !self.merges {
            let usual = rows_ahead.checked_div(requests_ahead).unwrap_or(rows);
            let each = self.cost.average(waiting, Per::Request, usual)?;
            let wait = station.start(requests_ahead, each);
            return Some(Forecast { wait, answer: wait.saturating_add(self.cost(bucket, rows)) });
        }
        let full = rounded(self.full).clamp(1, self.max_batch_size);
        // Its last row stands in this batch, counted from 0.
        let before = (rows_ahead + rows - 1) / full;
        let own = rows_ahead + rows - before * full;
        let own = own.max(rounded(self.usual)).max(rows).min(self.max_batch_size.max(rows));
        let wait = station.start(before, self.cost.average(waiting, Per::Row, full)?);
        Some(Forecast { wait, answer: wait.saturating_add(self.cost(bucket, own)) })
    }

    /// `alone` is what the run would take by itself, `left` the time until the deadline.
    fn check(&self, forecast: Forecast, alone: Duration, left: Option<Duration>) -> Result<(), TooLate> {
        let Forecast { wait, answer } = forecast;
        if let Some(left) = left {
            if alone > left {
                return Err(TooLate::Impossible { expected: alone });
            }
            // However wrong forecasts were, they say something.
            let expected = answer.saturating_add(self.lateness.margin().min(left / 2));
            if expected > left {
                return Err(TooLate::Deadline { expected, by: expected - left });
            }
        }
        match self.policy.max_queue_time {
            Some(limit) if wait > limit => Err(TooLate::QueueTime { expected: wait, limit }),
            _ => Ok(()),
        }
    }

    fn sample(&mut self, id: u64, forecast: Forecast, made: Instant) {
        self.unsampled += 1;
        if self.unsampled < SAMPLE_EVERY && !self.samples.is_empty() {
            return;
        }
        if self.samples.len() == MAX_SAMPLES {
            return;
        }
        self.unsampled = 0;
        self.samples.push(Sample { id, made, answer: forecast.answer, place: None });
    }
}

/// A batch that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Began {
    /// Where it runs; one batch at a time does.
    pub place: usize,
    /// Its rows.
    pub rows: usize,
    /// How large they are.
    pub bucket: ShapeBucket,
    /// Whether requests are left in the queue.
    pub others_wait: bool,
}

impl TooLate {
    /// When it may be asked again with a chance, if ever.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Deadline { by, .. } => Some(*by),
            Self::QueueTime { expected, limit } => Some(expected.saturating_sub(*limit)),
            Self::Impossible { .. } => None,
        }
    }
}

/// Rows to the nearest whole number.
#[expect(clippy::cast_possible_truncation, reason = "between 0 and a count of rows")]
fn rounded(rows: f64) -> usize {
    rows.round() as usize
}
