use std::borrow::Cow;
use std::time::Duration;

use adulis_types::{ErrorKind, Name, QuotaReport, Retry, ServiceError};

use crate::limits::Applied;
use crate::report::Standings;
use crate::{Limit, Limits, Refusal};

/// How long a client is asked to wait for a place: when one of its requests ends nobody knows.
const PLACE: Duration = Duration::from_secs(1);

/// A request over a limit of whoever asks.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub struct QuotaError(Box<Told>);

#[derive(Debug, Clone)]
struct Told {
    refusal: Refusal,
    message: String,
    report: QuotaReport,
}

impl QuotaError {
    pub(crate) fn new(refusal: Refusal, applied: &Applied, model: &Name, standings: Standings) -> Self {
        let report = QuotaReport { policy: applied.policy.clone(), standings };
        Self(Box::new(Told { message: message(refusal, applied, model), refusal, report }))
    }

    /// Which limit it is, and when the request would be let through.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        self.0.refusal
    }
}

fn message(refusal: Refusal, applied: &Applied, model: &Name) -> String {
    let Applied { class, limits, by_model, .. } = applied;
    let of = if *by_model { format!(" of model '{model}'") } else { String::new() };
    let allowed = allowed(refusal.limit, limits);
    match (refusal.retry, refusal.limit) {
        (Some(retry), _) => {
            format!("quota '{class}' allows {allowed}{of}: try again in {}", rounded(retry))
        }
        (None, Limit::ConcurrentRequests) => {
            format!("quota '{class}' allows {allowed}{of}: try again when one of them is answered")
        }
        (None, _) => format!("quota '{class}' allows {allowed}{of}: this request has more rows, send fewer"),
    }
}

fn allowed(limit: Limit, limits: &Limits) -> String {
    match limit {
        Limit::Requests => limits.requests.map_or_else(String::new, |rate| {
            format!("{} requests per second and {} at once", rate.per_second, rate.burst)
        }),
        Limit::Rows => limits.rows.map_or_else(String::new, |rate| {
            format!("{} rows per second and {} at once", rate.per_second, rate.burst)
        }),
        Limit::ConcurrentRequests => {
            format!("{} requests at a time", limits.concurrent_requests.map_or(0, u32::from))
        }
        Limit::RowsPerDay => format!("{} rows per day", limits.rows_per_day.map_or(0, u64::from)),
    }
}

/// In milliseconds or seconds, rounded up.
fn rounded(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return format!("{} ms", duration.as_micros().div_ceil(1000).max(1));
    }
    format!("{} s", duration.as_millis().div_ceil(1000))
}

impl ServiceError for QuotaError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::RateLimited
    }

    fn retry(&self) -> Retry {
        match (self.0.refusal.retry, self.0.refusal.limit) {
            (Some(retry), _) => Retry::After(retry),
            (None, Limit::ConcurrentRequests) => Retry::After(PLACE),
            (None, _) => Retry::Never,
        }
    }

    fn quota(&self) -> Option<&QuotaReport> {
        Some(&self.0.report)
    }

    fn client_message(&self) -> Cow<'static, str> {
        self.0.message.clone().into()
    }
}
