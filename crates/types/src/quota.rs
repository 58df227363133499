use std::fmt::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;

/// Most that a whole number in a structured field may be.
///
/// Source: RFC 9651, section 3.3.1.
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// Bytes that the text of a report with most of its limits has.
const USUAL_BYTES: usize = 128;

/// How the limits of whoever asked stand. A frontend writes it as the standard's header fields, which are lists of what HTTP
/// calls structured fields; gRPC has them as metadata of the same names.
///
/// Source: draft-ietf-httpapi-ratelimit-headers-10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaReport {
    /// The limits that there are.
    pub policy: QuotaPolicy,
    /// What is left of each.
    pub standings: [Option<QuotaStanding>; QuotaReport::MAX_LIMITS],
}

/// The limits that there are, as `RateLimit-Policy` has them, written once for all reports: `"requests";q=20;w=2,
/// "rows";q=640;w=20;qu="rows"`. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaPolicy(Bytes);

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaTerm {
    /// Its name.
    pub limit: &'static str,
    /// What passes at once, or in a day.
    pub quota: u64,
    /// In which time that comes back.
    pub window: Option<Duration>,
    /// What it is counted in; `None`: requests.
    pub unit: Option<&'static str>,
}

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaStanding {
    /// Its name.
    pub limit: &'static str,
    /// What is left.
    pub remaining: u64,
    /// After which time there is more; `None` where nothing is missing, or nobody knows.
    pub more_after: Option<Duration>,
}

impl QuotaReport {
    /// Most limits that hold for one request.
    pub const MAX_LIMITS: usize = 4;

    /// The header field of the limits that there are.
    pub const POLICY: &str = "ratelimit-policy";
    /// The header field of how they stand: `"requests";r=19;t=1, "rows";r=632;t=1`.
    pub const STATE: &str = "ratelimit";

    /// Both fields with their values, which are ASCII.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, Bytes); 2] {
        let state = text(self.standings.iter().flatten());
        [(Self::POLICY, self.policy.0.clone()), (Self::STATE, state)]
    }
}

impl QuotaPolicy {
    /// Of these limits.
    #[must_use]
    pub fn new<'a>(terms: impl IntoIterator<Item = &'a QuotaTerm>) -> Self {
        Self(text(terms))
    }
}

impl fmt::Display for QuotaTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\";q={}", self.limit, self.quota.min(MAX_INTEGER))?;
        if let Some(window) = self.window {
            write!(f, ";w={}", seconds(window))?;
        }
        match self.unit {
            Some(unit) => write!(f, ";qu=\"{unit}\""),
            None => Ok(()),
        }
    }
}

impl fmt::Display for QuotaStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\";r={}", self.limit, self.remaining.min(MAX_INTEGER))?;
        match self.more_after {
            Some(time) => write!(f, ";t={}", seconds(time)),
            None => Ok(()),
        }
    }
}

/// A list of items.
fn text<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> Bytes {
    let mut text = String::with_capacity(USUAL_BYTES);
    for item in items {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to text cannot fail.
        let _ = write!(text, "{separator}{item}");
    }
    // What has room to spare would need a second allocation.
    text.into_boxed_str().into_boxed_bytes().into()
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_as_structured_fields() {
        let terms = [
            QuotaTerm {
                limit: "requests",
                quota: 25,
                window: Some(Duration::from_millis(2500)),
                unit: None,
            },
            QuotaTerm { limit: "rows-per-day", quota: u64::MAX, window: None, unit: Some("rows") },
        ];
        let standing = |limit, remaining, milliseconds: Option<u64>| {
            let more_after = milliseconds.map(Duration::from_millis);
            Some(QuotaStanding { limit, remaining, more_after })
        };
        let standings = [
            standing("requests", 4, Some(100)),
            None,
            standing("rows", 0, Some(2000)),
            standing("rows-per-day", u64::MAX, None),
        ];
        let report = QuotaReport { policy: QuotaPolicy::new(&terms), standings };
        let policy: &[u8] = br#""requests";q=25;w=3, "rows-per-day";q=999999999999999;qu="rows""#;
        let state: &[u8] = br#""requests";r=4;t=1, "rows";r=0;t=2, "rows-per-day";r=999999999999999"#;
        let fields = report.fields();
        let fields = fields.each_ref().map(|(name, value)| (*name, &**value));
        assert_eq!(fields, [("ratelimit-policy", policy), ("ratelimit", state)]);
    }
}
