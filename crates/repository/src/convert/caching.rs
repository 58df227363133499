use std::collections::BTreeMap;
use std::time::Duration;

use super::Check;
use crate::Caching;

/// Longest time that a parameter takes: a year.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Check<'_> {
    /// How answers are kept, where they are: `response_cache` itself says no more than whether.
    pub(super) fn caching(&mut self, parameters: &BTreeMap<String, String>) -> Caching {
        let mut time = |name| self.time(parameters, name);
        let ttl = time("response_cache_ttl");
        let stale = time("response_cache_stale_while_revalidate");
        let negative = time("response_cache_negative_ttl");
        Caching {
            ttl,
            stale_while_revalidate: stale.unwrap_or_default(),
            negative_ttl: negative.unwrap_or_default(),
            row_wise: self.flag(parameters, "response_cache_row_wise"),
            insist: self.flag(parameters, "response_cache_insist").unwrap_or_default(),
        }
    }

    /// A duration as people write it, such as `90s` or `1h 30m`; `0` needs no unit, and `off` is the same.
    pub(super) fn time(&mut self, parameters: &BTreeMap<String, String>, name: &str) -> Option<Duration> {
        let text = parameters.get(name)?.trim();
        let time = match text {
            "0" | "off" => Some(Duration::ZERO),
            text => humantime::parse_duration(text).ok(),
        };
        let message = match time {
            Some(time) if time <= MAX_TIME => return Some(time),
            Some(_) => format!("expected at most a year, got {text:?}"),
            None => format!("expected a duration such as \"90s\", or \"off\", got {text:?}"),
        };
        self.faults.push(format!("parameters.{name}"), message);
        None
    }
}
