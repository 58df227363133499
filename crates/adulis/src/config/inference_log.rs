//! The inference log: what is logged of which model, and how long it is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use adulis_store::{Capture, LogOptions, LogPolicies, LogPolicy, Retention};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::check::Check;
use super::store::print_time_or_off;
use super::units::{format_bytes, format_duration};

const SECTION: &str = "inference_log";
const CAPTURES: [(&str, Capture); 2] = [("tensors", Capture::Tensors), ("digests", Capture::Digests)];
const PAYLOAD: std::ops::RangeInclusive<usize> = 1..=16 << 20;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawInferenceLog {
    sample_rate: Option<Value>,
    capture: Option<String>,
    max_payload_bytes: Option<Value>,
    redact: Option<Vec<String>>,
    queue_records: Option<i64>,
    queue_bytes: Option<Value>,
    batch_records: Option<i64>,
    flush_interval: Option<String>,
    max_age: Option<String>,
    max_records: Option<i64>,
    models: BTreeMap<String, RawPolicy>,
}

/// What a model may have of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_rate: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_payload_bytes: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redact: Option<Vec<String>>,
}

impl Check<'_> {
    pub(super) fn inference_log(&mut self, raw: &RawInferenceLog, default: &LogOptions) -> LogOptions {
        let own = RawPolicy {
            sample_rate: raw.sample_rate.clone(),
            capture: raw.capture.clone(),
            max_payload_bytes: raw.max_payload_bytes.clone(),
            redact: raw.redact.clone(),
        };
        let of_all = self.log_policy(SECTION, &own, &default.policies.default);
        let models = raw.models.iter().map(|(model, raw)| {
            let section = format!("{SECTION}.models.{model}");
            (model.clone(), self.log_policy(&section, raw, &of_all))
        });
        let policies = LogPolicies { models: models.collect(), default: of_all };
        let options = LogOptions {
            policies,
            queue_records: self
                .whole("inference_log.queue_records", raw.queue_records, 1..=1 << 24)
                .unwrap_or(default.queue_records),
            queue_bytes: self
                .bytes_within("inference_log.queue_bytes", raw.queue_bytes.as_ref(), &(1..=1 << 40))
                .unwrap_or(default.queue_bytes),
            batch_records: self
                .whole("inference_log.batch_records", raw.batch_records, 1..=10_000)
                .unwrap_or(default.batch_records),
            flush_interval: self
                .duration(
                    "inference_log.flush_interval",
                    raw.flush_interval.as_deref(),
                    &(Duration::from_millis(1)..=Duration::from_secs(60 * 60)),
                )
                .unwrap_or(default.flush_interval),
            retention: self.retention(raw, default.retention),
        };
        self.queue_has_room(&options);
        options
    }

    fn log_policy(&mut self, section: &str, raw: &RawPolicy, default: &LogPolicy) -> LogPolicy {
        let key = |name: &str| format!("{section}.{name}");
        let capture = raw.capture.as_deref();
        LogPolicy {
            sample_rate: self
                .sample_rate(key("sample_rate"), raw.sample_rate.as_ref())
                .unwrap_or(default.sample_rate),
            capture: capture
                .and_then(|word| self.word(&key("capture"), word, &CAPTURES))
                .unwrap_or(default.capture),
            max_payload_bytes: self
                .bytes_within(&key("max_payload_bytes"), raw.max_payload_bytes.as_ref(), &PAYLOAD)
                .unwrap_or(default.max_payload_bytes),
            redact: raw.redact.clone().unwrap_or_else(|| default.redact.clone()),
        }
    }

    fn sample_rate(&mut self, key: String, value: Option<&Value>) -> Option<f64> {
        let rate = match value? {
            Value::Float(rate) => Some(*rate),
            Value::Integer(0) => Some(0.0),
            Value::Integer(1) => Some(1.0),
            _ => None,
        };
        let rate = rate.filter(|rate| (0.0..=1.0).contains(rate));
        if rate.is_none() {
            self.faults.push_with_remedy(key, "expected a share from 0 to 1", "for example 0.01");
        }
        rate
    }

    fn retention(&mut self, raw: &RawInferenceLog, default: Retention) -> Retention {
        let records = self.whole("inference_log.max_records", raw.max_records, 0..=1 << 40);
        Retention {
            max_age: self.time_or_off("inference_log.max_age", raw.max_age.as_deref(), default.max_age),
            max_records: match records {
                Some(0) => None,
                Some(records) => Some(records as u64),
                None => default.max_records,
            },
        }
    }

    /// A record that never fits would always be dropped.
    fn queue_has_room(&mut self, options: &LogOptions) {
        let policies = options.policies.models.values().chain([&options.policies.default]);
        let largest = policies.map(|policy| policy.max_payload_bytes).max().unwrap_or(0);
        if options.queue_bytes < largest {
            let message = format!("less than the {} of one record's tensors", format_bytes(largest));
            self.faults.push("inference_log.queue_bytes", message);
        }
    }
}

pub(super) fn print(options: &LogOptions) -> RawInferenceLog {
    let whole = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
    let RawPolicy { sample_rate, capture, max_payload_bytes, redact } =
        print_policy(&options.policies.default);
    let models = options.policies.models.iter();
    RawInferenceLog {
        sample_rate,
        capture,
        max_payload_bytes,
        redact,
        queue_records: whole(options.queue_records as u64),
        queue_bytes: Some(Value::String(format_bytes(options.queue_bytes))),
        batch_records: whole(options.batch_records as u64),
        flush_interval: Some(format_duration(options.flush_interval)),
        max_age: print_time_or_off(options.retention.max_age),
        max_records: whole(options.retention.max_records.unwrap_or(0)),
        models: models.map(|(model, policy)| (model.clone(), print_policy(policy))).collect(),
    }
}

fn print_policy(policy: &LogPolicy) -> RawPolicy {
    let capture = CAPTURES.iter().find(|(_, capture)| *capture == policy.capture);
    RawPolicy {
        sample_rate: Some(Value::Float(policy.sample_rate)),
        capture: capture.map(|(word, _)| (*word).to_owned()),
        max_payload_bytes: Some(Value::String(format_bytes(policy.max_payload_bytes))),
        redact: Some(policy.redact.clone()),
    }
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    fn checked(text: &str) -> Result<LogOptions, Vec<String>> {
        let raw: RawInferenceLog = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        let options = Check { faults: &mut faults }.inference_log(&raw, &LogOptions::default());
        let told = faults.into_vec().into_iter();
        let told: Vec<String> = told.map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
        if told.is_empty() { Ok(options) } else { Err(told) }
    }

    #[test]
    fn models_have_what_is_said_of_them_and_the_rest_of_all() {
        let options = checked(
            "sample_rate = 0.25\nredact = ['a']\nmax_age = 'off'\nmax_records = 0\n\
             [models.digits]\nsample_rate = 1\n[models.\"b c\"]\ncapture = 'digests'\nredact = []",
        )
        .unwrap();
        let digits = options.policies.of("digits");
        assert_eq!((digits.sample_rate, &digits.redact[..]), (1.0, &["a".to_owned()][..]));
        let other = options.policies.of("b c");
        assert_eq!((other.sample_rate, other.capture, other.redact.len()), (0.25, Capture::Digests, 0));
        assert_eq!(options.policies.of("else").sample_rate, 0.25);
        assert_eq!(options.retention, Retention { max_age: None, max_records: None });
        let printed = toml::to_string(&print(&options)).unwrap();
        assert_eq!(checked(&printed), Ok(options), "{printed}");
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (text, expected) in [
            ("sample_rate = 1.5", "inference_log.sample_rate: expected a share from 0 to 1"),
            ("sample_rate = nan", "inference_log.sample_rate: expected a share from 0 to 1"),
            (
                "[models.m]\nsample_rate = 'all'",
                "inference_log.models.m.sample_rate: expected a share from 0 to 1",
            ),
            ("capture = 'all'", "inference_log.capture: expected one of tensors, digests, got \"all\""),
            (
                "queue_bytes = '1KiB'",
                "inference_log.queue_bytes: less than the 64KiB of one record's tensors",
            ),
        ] {
            assert_eq!(checked(text), Err(vec![expected.to_owned()]), "{text}");
        }
    }
}
