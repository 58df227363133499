//! What an answer says beside its body.

use adulis_types::{CacheOutcome, InferResponse, QuotaReport};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Says what the response cache had to do with an answer, and how old that is.
const CACHE: HeaderName = HeaderName::from_static("adulis-cache");

/// What an answer says beside its body.
pub(crate) struct Beside {
    cache: Option<CacheOutcome>,
    quota: Option<Box<QuotaReport>>,
}

impl Beside {
    /// That of an answer which is going to be encoded.
    pub(crate) fn take(response: &mut InferResponse) -> Self {
        Self { cache: response.cache, quota: response.quota.take() }
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if let Some(value) = self.cache.and_then(|cache| HeaderValue::try_from(cache.to_string()).ok()) {
            headers.insert(CACHE, value);
        }
        if let Some(report) = &self.quota {
            write_quota(report, headers);
        }
    }
}

/// How the limits of whoever asked stand.
pub(crate) fn write_quota(report: &QuotaReport, headers: &mut HeaderMap) {
    for (name, value) in report.fields() {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
