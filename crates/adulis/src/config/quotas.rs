//! How much identities may ask for, and where that is counted.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::RangeInclusive;
use std::time::Duration;

use adulis_pool::PoolOptions;
use adulis_quota::{Class, Limits, QuotaOptions, Rate};
use adulis_types::Name;
use serde::{Deserialize, Serialize};

use super::AuthConfig;
use super::check::Check;
use super::pools::{RawRedis, RedisConfig};
use super::units::format_duration;

const MAX_PER_SECOND: f64 = 1e9;
const MIN_PER_SECOND: f64 = 1e-6;
const MAX_BURST: i64 = 1 << 40;
const MAX_CONCURRENT: i64 = 1 << 20;
const MAX_PER_DAY: i64 = 1 << 50;
/// As many levels as a model has at most.
const MAX_PRIORITY: i64 = 1024;
const MAX_IDENTITIES: i64 = 1 << 24;
const LEASES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);
const MAX_NAME_BYTES: usize = 64;

/// How much identities may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaConfig {
    /// The classes, and how many identities are told apart.
    pub options: QuotaOptions,
    /// What replicas share counts in.
    pub redis: RedisConfig,
}

impl Default for QuotaConfig {
    /// Every request waits for Redis: it is not worth waiting longer than for a quick answer.
    fn default() -> Self {
        let pool = PoolOptions {
            timeout: Duration::from_millis(20),
            acquire_timeout: Duration::from_millis(10),
            ..PoolOptions::default()
        };
        Self {
            options: QuotaOptions::default(),
            redis: RedisConfig { pool, ..RedisConfig::default() },
        }
    }
}

/// A class by its name, or what holds for models in it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_burst: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_burst: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrent_requests: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_per_day: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_priority: Option<i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    models: BTreeMap<String, RawLimits>,
}

pub(super) type RawQuotas = BTreeMap<String, RawLimits>;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawQuotaState {
    max_identities: Option<i64>,
    lease: Option<String>,
    redis: RawRedis,
}

impl Check<'_> {
    pub(super) fn quotas(
        &mut self,
        (raw, state): (&RawQuotas, &RawQuotaState),
        default: &QuotaConfig,
    ) -> QuotaConfig {
        let classes = raw.iter().map(|(name, raw)| (Name::from(name.as_str()), self.class(name, raw)));
        QuotaConfig {
            options: QuotaOptions {
                classes: classes.collect(),
                max_identities: self
                    .whole("quota_state.max_identities", state.max_identities, 1..=MAX_IDENTITIES)
                    .unwrap_or(default.options.max_identities),
                lease: self
                    .duration("quota_state.lease", state.lease.as_deref(), &LEASES)
                    .unwrap_or(default.options.lease),
            },
            redis: self.redis("quota_state.redis", &state.redis, &default.redis),
        }
    }

    /// Identities whose class there is not would have the limits of everybody, or none.
    pub(super) fn identities_have_quotas(&mut self, auth: &AuthConfig, quotas: &QuotaConfig) {
        let keys = auth.options.keys.iter().map(|key| ("keys", &key.identity));
        let rules = auth.options.certificates.iter().map(|rule| ("certificates", &rule.identity));
        for (section, identity) in keys.chain(rules) {
            let class = &identity.quota;
            if !class.is_empty() && !quotas.options.classes.contains_key(class) {
                let key = format!("auth.{section}.{}.quota", identity.name);
                let message = format!("{:?} is no class of quotas", class.as_str());
                self.faults.push_with_remedy(key, message, format!("add [quotas.{class}]"));
            }
        }
    }

    fn class(&mut self, name: &str, raw: &RawLimits) -> Class {
        let key = format!("quotas.{name}");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_plain) {
            let message =
                format!("expected letters, digits, -, _ and ., {MAX_NAME_BYTES} at most, as a name");
            self.faults.push(&key, message);
        }
        let mut models = BTreeMap::new();
        for (pattern, raw) in &raw.models {
            let key = format!("{key}.models.{pattern}");
            if !raw.models.is_empty() {
                self.faults.push(format!("{key}.models"), "there are no models within models");
            }
            if raw.max_priority.is_some() {
                let (key, remedy) =
                    (format!("{key}.max_priority"), format!("set quotas.{name}.max_priority"));
                self.faults.push_with_remedy(key, "holds for all models of a class", remedy);
            }
            models.insert(Name::from(pattern.as_str()), self.limits(&key, raw));
        }
        let max_priority = self.whole(format!("{key}.max_priority"), raw.max_priority, 1..=MAX_PRIORITY);
        Class {
            limits: self.limits(&key, raw),
            models,
            max_priority: max_priority.and_then(|most| NonZeroU32::new(u32::try_from(most).ok()?)),
        }
    }

    fn limits(&mut self, key: &str, raw: &RawLimits) -> Limits {
        let of = |name: &str| format!("{key}.{name}");
        Limits {
            requests: self.rate(
                (&of("requests_per_second"), raw.requests_per_second),
                (&of("requests_burst"), raw.requests_burst),
            ),
            rows: self
                .rate((&of("rows_per_second"), raw.rows_per_second), (&of("rows_burst"), raw.rows_burst)),
            concurrent_requests: self
                .whole(of("concurrent_requests"), raw.concurrent_requests, 1..=MAX_CONCURRENT)
                .and_then(|most| NonZeroU32::new(u32::try_from(most).ok()?)),
            rows_per_day: self
                .whole(of("rows_per_day"), raw.rows_per_day, 1..=MAX_PER_DAY)
                .and_then(|most| NonZeroU64::new(most as u64)),
        }
    }

    fn rate(
        &mut self,
        (rate_key, per_second): (&str, Option<f64>),
        (burst_key, burst): (&str, Option<i64>),
    ) -> Option<Rate> {
        let Some(per_second) = per_second else {
            if burst.is_some() {
                self.faults.push_with_remedy(
                    burst_key,
                    "is set, and there is no rate",
                    format!("set {rate_key}"),
                );
            }
            return None;
        };
        if !(MIN_PER_SECOND..=MAX_PER_SECOND).contains(&per_second) {
            let message = format!("expected {MIN_PER_SECOND} to {MAX_PER_SECOND}, got {per_second}");
            self.faults.push(rate_key, message);
            return None;
        }
        // A second's worth, where nothing is said.
        #[expect(clippy::cast_possible_truncation, reason = "it is a billion at most")]
        let second = per_second.ceil() as u64;
        let burst = self.whole(burst_key, burst, 1..=MAX_BURST);
        Some(Rate { per_second, burst: burst.map_or(second, |burst| burst as u64) })
    }
}

impl QuotaConfig {
    pub(super) fn print(&self) -> (RawQuotas, RawQuotaState) {
        let classes = self.options.classes.iter().map(|(name, class)| (name.to_string(), print_class(class)));
        let state = RawQuotaState {
            max_identities: i64::try_from(self.options.max_identities).ok(),
            lease: Some(format_duration(self.options.lease)),
            redis: self.redis.print(),
        };
        (classes.collect(), state)
    }
}

fn print_class(class: &Class) -> RawLimits {
    let models = class.models.iter();
    RawLimits {
        models: models.map(|(pattern, limits)| (pattern.to_string(), print_limits(limits))).collect(),
        max_priority: class.max_priority.map(|most| most.get().into()),
        ..print_limits(&class.limits)
    }
}

fn print_limits(limits: &Limits) -> RawLimits {
    let burst = |rate: Option<Rate>| rate.and_then(|rate| i64::try_from(rate.burst).ok());
    RawLimits {
        requests_per_second: limits.requests.map(|rate| rate.per_second),
        requests_burst: burst(limits.requests),
        rows_per_second: limits.rows.map(|rate| rate.per_second),
        rows_burst: burst(limits.rows),
        concurrent_requests: limits.concurrent_requests.map(|most| most.get().into()),
        rows_per_day: limits.rows_per_day.and_then(|most| i64::try_from(most.get()).ok()),
        ..RawLimits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Layers;
    use super::*;

    fn load(file: &str) -> Result<QuotaConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("adulis.toml"), file).unwrap();
        let layers = Layers { folder: folder.path().to_owned(), ..Layers::default() };
        layers.load().map(|loaded| loaded.config.quotas).map_err(|errors| errors.to_string())
    }

    const CLASSES: &str = r#"
        [quotas.default]
        requests_per_second = 2.5

        [quotas.gold]
        requests_per_second = 100
        requests_burst = 200
        rows_per_second = 6400
        concurrent_requests = 32
        rows_per_day = 1_000_000_000
        max_priority = 2

        [quotas.gold.models."bert-*"]
        rows_per_day = 5
    "#;

    #[test]
    fn classes_are_read_and_printed() {
        let config = load(CLASSES).unwrap();
        let classes = &config.options.classes;
        assert_eq!(classes["default"].limits.requests, Some(Rate { per_second: 2.5, burst: 3 }));
        let gold = &classes["gold"];
        assert_eq!(gold.limits.requests, Some(Rate { per_second: 100.0, burst: 200 }));
        assert_eq!(gold.limits.rows, Some(Rate { per_second: 6400.0, burst: 6400 }));
        assert_eq!((gold.max_priority, classes["default"].max_priority), (NonZeroU32::new(2), None));
        let own = Limits { rows_per_day: NonZeroU64::new(5), ..Limits::default() };
        assert_eq!(gold.models, BTreeMap::from([("bert-*".into(), own)]), "nothing is inherited");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("adulis.toml"), CLASSES).unwrap();
        let layers = Layers { folder: folder.path().to_owned(), ..Layers::default() };
        let printed = layers.load().unwrap().config.to_toml();
        assert_eq!(load(&printed).unwrap(), config, "{printed}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        for (file, expected) in [
            (
                "[quotas.a]\nrequests_per_second = 0",
                "quotas.a.requests_per_second: expected 0.000001 to 1000000000, got 0",
            ),
            ("[quotas.a]\nrows_per_second = nan", "quotas.a.rows_per_second: expected"),
            ("[quotas.a]\nrows_burst = 5", "quotas.a.rows_burst: is set, and there is no rate"),
            ("[quotas.a]\nconcurrent_requests = 0", "quotas.a.concurrent_requests: expected 1 to"),
            ("[quotas.'a b']\n", "quotas.a b: expected letters"),
            (
                "[quotas.a.models.m.models.n]\n",
                "quotas.a.models.m.models: there are no models within models",
            ),
            ("[quotas.a]\nmax_priority = 0", "quotas.a.max_priority: expected 1 to 1024"),
            (
                "[quotas.a.models.m]\nmax_priority = 2",
                "quotas.a.models.m.max_priority: holds for all models of a class; set quotas.a.max_priority",
            ),
            ("[quotas.a]\nrequests_per_minute = 5", "requests_per_minute"),
            ("[quota_state]\nmax_identities = 0", "quota_state.max_identities: expected 1 to"),
            ("[quota_state]\nlease = '10ms'", "quota_state.lease: expected"),
        ] {
            let told = load(file).unwrap_err();
            assert!(told.contains(expected), "{file}: {told}");
        }
    }

    #[test]
    fn identities_name_a_class_that_there_is() {
        let key = format!("[auth.keys.a]\ndigest = \"sha256:{}\"\n", "ab".repeat(32));
        let rule = "[auth.certificates.b]\nnames = [\"b\"]\n";
        let rest = "scopes = [\"infer\"]\nquota = \"gold\"\n";
        let file = format!("[auth]\nenabled = true\n{key}{rest}{rule}{rest}");
        let told = load(&file).unwrap_err();
        assert!(told.contains("auth.keys.a.quota: \"gold\" is no class of quotas"), "{told}");
        assert!(told.contains("auth.certificates.b.quota: \"gold\" is no class of quotas"), "{told}");
        assert!(load(&format!("{file}{CLASSES}")).is_ok());
    }
}
