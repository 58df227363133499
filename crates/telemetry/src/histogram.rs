use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds of the duration buckets in nanoseconds: 1, 2 and 5 of each decade from 1 µs to 50 s.
const DURATION_BOUNDS_NANOSECONDS: [u64; 24] = decades(1_000);

/// Upper bounds of the row buckets: powers of two.
const ROW_BOUNDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

const fn decades(start: u64) -> [u64; 24] {
    let (mut bounds, mut index, mut unit) = ([0; 24], 0, start);
    while index < bounds.len() {
        bounds[index] = unit;
        bounds[index + 1] = unit * 2;
        bounds[index + 2] = unit * 5;
        unit *= 10;
        index += 3;
    }
    bounds
}

/// Counts per bucket, and the sum of what was observed. Updates are two relaxed additions; a reader may see one of
/// them without the other.
#[derive(Debug)]
struct Buckets<const N: usize> {
    counts: [AtomicU64; N],
    overflow: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Buckets<N> {
    fn new() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; N],
            overflow: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    fn observe(&self, bounds: &[u64; N], value: u64, times: u64) {
        let index = bounds.partition_point(|&bound| bound < value);
        self.counts.get(index).unwrap_or(&self.overflow).fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
    }

    fn encode(
        &self,
        bounds: &[u64; N],
        per_unit: f64,
        mut encoder: MetricEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(N + 1);
        for (bound, bucket) in bounds.iter().zip(&self.counts) {
            let here = bucket.load(Ordering::Relaxed);
            count += here;
            buckets.push((as_f64(*bound) / per_unit, here));
        }
        let above = self.overflow.load(Ordering::Relaxed);
        count += above;
        buckets.push((f64::INFINITY, above));
        let sum = as_f64(self.sum.load(Ordering::Relaxed)) / per_unit;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are read as floating point")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

/// A lock-free histogram of durations, told in seconds. Clones share the counts.
#[derive(Debug, Clone)]
pub struct DurationHistogram(Arc<Buckets<24>>);

impl Default for DurationHistogram {
    fn default() -> Self {
        Self(Arc::new(Buckets::new()))
    }
}

impl DurationHistogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        self.observe_times(duration, 1);
    }

    /// Counts one duration `times` times: a stage that a whole batch shares.
    pub fn observe_times(&self, duration: Duration, times: u64) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.0.observe(&DURATION_BOUNDS_NANOSECONDS, nanoseconds, times);
    }
}

impl TypedMetric for DurationHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for DurationHistogram {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(&DURATION_BOUNDS_NANOSECONDS, 1e9, encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// A lock-free histogram of row counts. Clones share the counts.
#[derive(Debug, Clone)]
pub struct RowsHistogram(Arc<Buckets<11>>);

impl Default for RowsHistogram {
    fn default() -> Self {
        Self(Arc::new(Buckets::new()))
    }
}

impl RowsHistogram {
    /// Counts one batch of `rows` rows.
    pub fn observe(&self, rows: usize) {
        self.0.observe(&ROW_BOUNDS, rows as u64, 1);
    }
}

impl TypedMetric for RowsHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for RowsHistogram {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(&ROW_BOUNDS, 1.0, encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MetricRegistry, MetricsFormat};

    #[test]
    fn buckets_are_cumulative_and_end_at_infinity() {
        let registry = MetricRegistry::default();
        let histogram = DurationHistogram::default();
        registry.register("wait_seconds", "A wait", histogram.clone());
        histogram.observe(Duration::from_micros(1));
        histogram.observe_times(Duration::from_micros(3), 2);
        histogram.observe(Duration::from_secs(100));
        let text = registry.render(MetricsFormat::OpenMetrics);
        assert!(text.contains("wait_seconds_bucket{le=\"0.000001\"} 1\n"), "{text}");
        assert!(text.contains("wait_seconds_bucket{le=\"+Inf\"} 4\n"), "{text}");
        assert!(text.contains("wait_seconds_count 4\n"), "{text}");
        assert!(text.contains("wait_seconds_sum 100.00000"), "{text}");
    }
}
