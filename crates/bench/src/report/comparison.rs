use serde::Serialize;

use crate::load::Load;
use crate::measure::Window;
use crate::report::microseconds;

/// The first side over the second, at one level of load.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The level, as [`Load`] prints it.
    pub load: String,
    /// Requests per second.
    pub throughput: Ratio,
    /// Median latency.
    pub p50: Ratio,
    /// 99th percentile of latency.
    pub p99: Ratio,
    /// CPU time per request, where both are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu: Option<Ratio>,
    /// The windows themselves, in the order they were measured.
    pub pairs: Vec<Pair>,
}

/// Neighbouring windows, one of each side.
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "each field is the side of its name")]
pub struct Pair {
    pub first: WindowReport,
    pub second: WindowReport,
}

/// One window of one side.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WindowReport {
    /// Good answers per second.
    pub requests_per_second: f64,
    /// Median latency.
    pub p50_microseconds: f64,
    /// 99th percentile of latency.
    pub p99_microseconds: f64,
    /// Failed requests.
    pub failed: u64,
    /// CPU time of the server process per good answer, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_microseconds_per_request: Option<f64>,
}

/// Ratios of neighbouring windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each field is the statistic of its name")]
pub struct Ratio {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Ratio {
    /// Median and range of `a / b` over pairs; `None` where no pair has both figures.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let mut ratios: Vec<f64> =
            pairs.into_iter().filter(|&(a, b)| a > 0.0 && b > 0.0).map(|(a, b)| a / b).collect();
        ratios.sort_by(f64::total_cmp);
        let (min, max) = (*ratios.first()?, *ratios.last()?);
        let middle = ratios.len() / 2;
        let median = match ratios.len() % 2 {
            0 => f64::midpoint(ratios[middle - 1], ratios[middle]),
            _ => ratios[middle],
        };
        Some(Self { median, min, max })
    }
}

impl Comparison {
    /// Of windows that were measured in turn; `None` where no pair of them has answers on both sides.
    pub(crate) fn of(load: Load, [first, second]: &[Vec<Window>; 2]) -> Option<Self> {
        let pairs: Vec<Pair> = first
            .iter()
            .zip(second)
            .map(|(first, second)| Pair { first: first.into(), second: second.into() })
            .collect();
        let ratio = |figure: &dyn Fn(&WindowReport) -> f64| {
            Ratio::of(pairs.iter().map(|pair| (figure(&pair.first), figure(&pair.second))))
        };
        Some(Self {
            load: load.to_string(),
            throughput: ratio(&|window| window.requests_per_second)?,
            p50: ratio(&|window| window.p50_microseconds)?,
            p99: ratio(&|window| window.p99_microseconds)?,
            server_cpu: ratio(&|window| window.server_cpu_microseconds_per_request.unwrap_or_default()),
            pairs,
        })
    }
}

impl From<&Window> for WindowReport {
    fn from(window: &Window) -> Self {
        let latency = window.tally.latency();
        Self {
            requests_per_second: window.requests_per_second(),
            p50_microseconds: microseconds(latency.percentile(50.0)),
            p99_microseconds: microseconds(latency.percentile(99.0)),
            failed: window.tally.failed_count(),
            server_cpu_microseconds_per_request: window.server_cpu_microseconds_per_request(),
        }
    }
}
