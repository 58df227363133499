use std::time::Duration;

use super::CostModel;
use crate::{Backlog, Mix, ShapeBucket};

/// Observations from which on a bucket's own line counts. Before, the model's does.
const TRUSTED: usize = 4;

/// What batches cost, by the size of their rows: a line for all of them, and one for each bucket that was seen.
///
/// A model whose rows are all of one size has the first one only, and pays for no other. There are at most
/// [`ShapeBucket::COUNT`] more, of less than a kilobyte each.
#[derive(Debug, Clone, Default)]
pub struct CostLines {
    all: CostModel,
    /// By the index of the bucket.
    buckets: Vec<Option<Box<CostModel>>>,
}

/// What a mixture of waiting requests is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Per {
    Request,
    Row,
}

impl From<CostModel> for CostLines {
    /// What is known of rows of any size.
    fn from(all: CostModel) -> Self {
        Self { all, buckets: Vec::new() }
    }
}

impl CostLines {
    /// A batch of `rows` took `took`.
    pub fn observe(&mut self, bucket: ShapeBucket, rows: usize, took: Duration) {
        self.all.observe(rows, took);
        let Some(index) = bucket.index() else {
            return;
        };
        if self.buckets.len() <= index {
            self.buckets.resize_with(index + 1, || None);
        }
        self.buckets[index].get_or_insert_default().observe(rows, took);
    }

    /// How long a batch of `rows` will take; `None` before the first observation of any bucket.
    #[must_use]
    pub fn estimate(&self, bucket: ShapeBucket, rows: usize) -> Option<Duration> {
        self.line(bucket).estimate(rows)
    }

    /// How long it takes to run all that waits, `parallel` batches at a time, each with as many requests as fit in it; `None`
    /// before the first observation of any bucket.
    #[must_use]
    pub fn backlog(&self, waiting: Backlog<'_>, parallel: usize) -> Option<Duration> {
        let Backlog { requests, rows, mix, max_batch_size } = waiting;
        let each = rows.div_ceil(requests.max(1)).max(1);
        let fit = (max_batch_size / each).max(1);
        let batch = self.average(mix, Per::Row, each * fit.min(requests.max(1)))?;
        let rounds = requests.div_ceil(fit).div_ceil(parallel.max(1));
        Some(batch.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX)))
    }

    pub(crate) fn average(&self, waiting: &Mix, per: Per, rows: usize) -> Option<Duration> {
        let (mut count, mut seconds) = (0, 0.0);
        for (bucket, requests_and_rows) in waiting.buckets() {
            let these = match per {
                Per::Request => requests_and_rows.0,
                Per::Row => requests_and_rows.1,
            };
            count += these;
            seconds += self.estimate(bucket, rows)?.as_secs_f64() * these as f64;
        }
        match count {
            0 => self.all.estimate(rows),
            count => Some(super::duration(seconds / count as f64)),
        }
    }

    fn line(&self, bucket: ShapeBucket) -> &CostModel {
        let own = bucket.index().and_then(|index| self.buckets.get(index)?.as_deref());
        own.filter(|line| line.observations() >= TRUSTED).unwrap_or(&self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Rows of 8 elements take 1 ms each, rows of 1,000 take 40 ms.
    fn known() -> (CostLines, ShapeBucket, ShapeBucket) {
        let (short, long) = (ShapeBucket::of(8), ShapeBucket::of(1000));
        let mut lines = CostLines::default();
        for rows in [1, 2, 4, 8] {
            lines.observe(short, rows, ms(rows as u64));
            lines.observe(long, rows, ms(40 * rows as u64));
        }
        (lines, short, long)
    }

    #[test]
    fn each_bucket_has_its_line() {
        let (lines, short, long) = known();
        for rows in [1, 3, 8] {
            assert_eq!(lines.estimate(short, rows), Some(ms(rows as u64)));
            assert_eq!(lines.estimate(long, rows), Some(ms(40 * rows as u64)));
        }
    }

    #[test]
    fn a_bucket_that_is_not_known_yet_costs_what_the_model_does() {
        let (mut lines, ..) = known();
        let new = ShapeBucket::of(100_000);
        assert_eq!(CostLines::default().estimate(new, 1), None);
        for _ in 0..TRUSTED {
            assert_eq!(lines.estimate(new, 2), lines.estimate(ShapeBucket::NONE, 2));
            lines.observe(new, 2, ms(500));
        }
        assert_eq!(lines.estimate(new, 2), Some(ms(500)));
    }

    #[test]
    fn rows_of_one_size_have_one_line() {
        let mut lines = CostLines::from(CostModel::new());
        lines.observe(ShapeBucket::NONE, 1, ms(7));
        assert_eq!(lines.estimate(ShapeBucket::NONE, 1), Some(ms(7)));
        assert_eq!((lines.buckets.len(), lines.buckets.capacity()), (0, 0));
    }

    #[test]
    fn there_are_no_more_lines_than_buckets() {
        let mut lines = CostLines::default();
        for bits in 0..usize::BITS {
            lines.observe(ShapeBucket::of(1 << bits), 1, ms(1));
        }
        assert_eq!(lines.buckets.len(), ShapeBucket::COUNT);
    }

    #[test]
    fn what_waits_is_run_in_batches_several_at_a_time() {
        let mut lines = CostLines::default();
        let mix = Mix::default();
        let waiting = |requests, rows, max_batch_size| Backlog { requests, rows, mix: &mix, max_batch_size };
        assert_eq!(lines.backlog(waiting(1, 1, 64), 1), None);
        lines.observe(ShapeBucket::NONE, 64, ms(100));
        for (waiting, parallel, expected) in [
            (waiting(16_384, 16_384, 64), 1, 25_600),
            (waiting(16_384, 16_384, 64), 4, 6_400),
            // Two of these do not fit in one batch.
            (waiting(100, 3_300, 64), 1, 10_000),
            (waiting(1, 1, 64), 8, 100),
            // Each by itself, whatever its rows.
            (waiting(30, 90, 1), 2, 1_500),
            (waiting(0, 0, 64), 1, 0),
        ] {
            assert_eq!(lines.backlog(waiting, parallel), Some(ms(expected)), "{waiting:?} {parallel}");
        }
    }

    #[test]
    fn a_mixture_costs_what_its_parts_do() {
        let (lines, short, long) = known();
        let mut mix = Mix::default();
        assert_eq!(lines.average(&mix, Per::Row, 4), lines.estimate(ShapeBucket::NONE, 4));
        // 30 rows of three requests, and ten of one.
        for _ in 0..3 {
            mix.add(short, 10);
        }
        mix.add(long, 10);
        assert_eq!(lines.average(&mix, Per::Row, 4), Some(ms((3 * 4 + 160) / 4)));
        assert_eq!(lines.average(&mix, Per::Request, 4), Some(ms((3 * 4 + 160) / 4)));
        mix.add(long, 0);
        assert_eq!(lines.average(&mix, Per::Request, 5), Some(ms((3 * 5 + 2 * 200) / 5)));
    }
}
