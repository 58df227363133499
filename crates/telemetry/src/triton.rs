//! Triton's names for what is counted already: dashboards and scripts that read them need no change.
//!
//! Source: Triton's `docs/user_guide/metrics.md`.

use std::fmt;
use std::time::Duration;

use adulis_types::{ErrorKind, InferenceStatistics, ModelStatistics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;

use crate::{MetricRegistry, ModelLabels};

/// Why requests failed, in Triton's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// There was no room for it, or it waited too long.
    Rejected,
    /// Its caller went away.
    Canceled,
    /// The model failed.
    Backend,
    /// Anything else: it did not fit the model.
    Other,
}

impl FailureReason {
    /// Every reason; a reason's place here is its index in [`TritonReport::failures`].
    pub const ALL: [FailureReason; 4] = [
        FailureReason::Rejected,
        FailureReason::Canceled,
        FailureReason::Backend,
        FailureReason::Other,
    ];

    /// The reason of an error.
    #[must_use]
    pub const fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Overloaded | ErrorKind::RateLimited | ErrorKind::DeadlineExceeded => Self::Rejected,
            ErrorKind::Cancelled => Self::Canceled,
            ErrorKind::Internal => Self::Backend,
            _ => Self::Other,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Canceled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

/// What is told of one model version that answers, at each scrape.
#[derive(Debug, Clone)]
pub struct TritonReport {
    /// Its counts since it was loaded, as the statistics extension tells them.
    pub statistics: ModelStatistics,
    /// How often requests failed for each reason.
    pub failures: [u64; FailureReason::ALL.len()],
    /// Requests that wait.
    pub pending: i64,
    /// How long loading took.
    pub load_time: Duration,
}

/// Asks for the reports at each scrape.
struct Triton<F>(F);

impl<F> fmt::Debug for Triton<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Triton").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    model: std::sync::Arc<str>,
    reason: &'static str,
    version: u64,
}

/// A counter: its name, what it says, and how it is read.
type Count = (&'static str, &'static str, fn(&ModelStatistics) -> u64);

const COUNTS: [Count; 8] = [
    ("nv_inference_request_success", "Requests that succeeded, whatever their rows", |of| {
        of.inference.success.count
    }),
    ("nv_inference_count", "Rows inferred; answers from a cache do not count", |of| {
        of.inference_count
    }),
    (
        "nv_inference_exec_count",
        "Runs of an instance; answers from a cache do not count",
        |of| of.execution_count,
    ),
    (
        "nv_inference_request_duration_us",
        "Microseconds from the arrival of requests that succeeded to their answers",
        |of| microseconds(of.inference.success.total),
    ),
    ("nv_inference_queue_duration_us", "Microseconds that they waited", |of| {
        microseconds(of.inference.queue.total)
    }),
    ("nv_inference_compute_input_duration_us", "Microseconds of gathering their inputs", |of| {
        microseconds(of.inference.compute_input.total)
    }),
    (
        "nv_inference_compute_infer_duration_us",
        "Microseconds of the engine's runs, counted for each request of a run",
        |of| microseconds(of.inference.compute_infer.total),
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Microseconds of taking their outputs over",
        |of| microseconds(of.inference.compute_output.total),
    ),
];

/// Of the response cache: of models whose requests have been looked up in one.
const CACHE_COUNTS: [Count; 4] = [
    ("nv_cache_num_hits_per_model", "Requests answered from the response cache", |of| {
        of.inference.cache_hit.count
    }),
    (
        "nv_cache_num_misses_per_model",
        "Requests that the response cache could not answer",
        |of| of.inference.cache_miss.count,
    ),
    ("nv_cache_hit_duration_per_model", "Microseconds of looking up what was found", |of| {
        microseconds(of.inference.cache_hit.total)
    }),
    (
        "nv_cache_miss_duration_per_model",
        "Microseconds of looking up what was not, and of inserting",
        |of| microseconds(of.inference.cache_miss.total),
    ),
];

impl<F> Collector for Triton<F>
where
    F: Fn() -> Vec<TritonReport> + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let reports = (self.0)();
        let [success, counts @ ..] = COUNTS;
        counters(&mut encoder, success, reports.iter())?;
        failures(&mut encoder, &reports)?;
        for count in counts {
            counters(&mut encoder, count, reports.iter())?;
        }
        let cached = |report: &&TritonReport| was_looked_up(&report.statistics.inference);
        if reports.iter().any(|report| cached(&report)) {
            for count in CACHE_COUNTS {
                counters(&mut encoder, count, reports.iter().filter(cached))?;
            }
        }
        let (name, help) = ("nv_inference_pending_request_count", "Requests that wait for their execution");
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for report in &reports {
            gauge.encode_family(&labels(report))?.encode_gauge(&report.pending)?;
        }
        let (name, help) = ("nv_model_load_duration_secs", "Seconds that loading and warm-up took");
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for report in &reports {
            gauge.encode_family(&labels(report))?.encode_gauge(&report.load_time.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Writes one counter of these models. Its type is `unknown`: an OpenMetrics counter would have to end with `_total`, and
/// these names do not.
fn counters<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, read): Count,
    reports: impl Iterator<Item = &'a TritonReport>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Unknown)?;
    for report in reports {
        metric.encode_family(&labels(report))?.encode_gauge(&read(&report.statistics))?;
    }
    Ok(())
}

fn failures(encoder: &mut DescriptorEncoder<'_>, reports: &[TritonReport]) -> Result<(), fmt::Error> {
    let (name, help) = ("nv_inference_request_failure", "Requests that failed, by why");
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Unknown)?;
    for report in reports {
        for (reason, count) in FailureReason::ALL.iter().zip(&report.failures) {
            let ModelLabels { model, version } = labels(report);
            let labels = FailureLabels { model, reason: reason.as_str(), version };
            metric.encode_family(&labels)?.encode_gauge(count)?;
        }
    }
    Ok(())
}

fn labels(report: &TritonReport) -> ModelLabels {
    ModelLabels { model: report.statistics.name.clone(), version: report.statistics.version }
}

/// Whether a cache has been asked for answers of this model.
fn was_looked_up(inference: &InferenceStatistics) -> bool {
    inference.cache_hit.count + inference.cache_miss.count > 0
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl MetricRegistry {
    /// Adds Triton's metrics of models.
    pub fn register_triton_models(&self, report: impl Fn() -> Vec<TritonReport> + Send + Sync + 'static) {
        self.register_collector(Box::new(Triton(report)));
    }
}

#[cfg(test)]
mod tests;
