//! What pages of other origins may do in browsers.

use std::time::Duration;

use adulis_http::{CorsOptions, CorsOrigins};
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::units::format_duration;

/// What pages of other origins may do in browsers: nothing, unless they are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsConfig {
    /// Origins such as `https://app.example`; `*` alone is all.
    pub origins: Vec<String>,
    /// Headers that their requests may have.
    pub headers: Vec<String>,
    /// How long browsers remember the answer.
    pub max_age: Duration,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCors {
    origins: Option<Vec<String>>,
    headers: Option<Vec<String>>,
    max_age: Option<String>,
}

const ANY: &str = "*";
const HEADERS: [&str; 6] = [
    "authorization",
    "content-type",
    "inference-header-content-length",
    "x-api-key",
    "x-request-id",
    "x-request-timeout-ms",
];

impl Default for CorsConfig {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            headers: HEADERS.map(str::to_owned).to_vec(),
            max_age: Duration::from_secs(600),
        }
    }
}

impl Check<'_> {
    pub(super) fn cors(&mut self, raw: &RawCors, default: &CorsConfig) -> CorsConfig {
        let origins = raw.origins.clone().unwrap_or_default();
        for (index, origin) in origins.iter().enumerate() {
            let key = format!("server.cors.origins[{index}]");
            let example = "for example \"https://app.example\"";
            if origin == ANY && origins.len() > 1 {
                self.faults.push(key, "is all origins: others beside it say nothing");
            } else if origin != ANY && !is_origin(origin) {
                self.faults.push_with_remedy(key, format!("{origin:?} is no origin"), example);
            }
        }
        let headers = raw.headers.clone().unwrap_or_else(|| default.headers.clone());
        for (index, header) in headers.iter().enumerate() {
            if header.parse::<http::HeaderName>().is_err() {
                let key = format!("server.cors.headers[{index}]");
                self.faults.push(key, format!("{header:?} is no name of a header"));
            }
        }
        let limits = Duration::ZERO..=Duration::from_secs(24 * 60 * 60);
        let max_age = self.duration("server.cors.max_age", raw.max_age.as_deref(), &limits);
        CorsConfig { origins, headers, max_age: max_age.unwrap_or(default.max_age) }
    }
}

/// A scheme, a host and maybe a port, as browsers write it.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase()) && is_host
}

impl CorsConfig {
    /// What REST is told; `None` where it says nothing to browsers.
    #[must_use]
    pub fn options(&self) -> Option<CorsOptions> {
        let origins = match &self.origins[..] {
            [] => return None,
            [any] if any == ANY => CorsOrigins::Any,
            these => CorsOrigins::These(these.iter().filter_map(|origin| origin.parse().ok()).collect()),
        };
        let headers = self.headers.iter().filter_map(|header| header.parse().ok()).collect();
        Some(CorsOptions { origins, headers, max_age: self.max_age })
    }

    pub(super) fn print(&self) -> RawCors {
        RawCors {
            origins: Some(self.origins.clone()),
            headers: Some(self.headers.clone()),
            max_age: Some(format_duration(self.max_age)),
        }
    }
}
