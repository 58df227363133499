//! Engines in worker processes.

use std::time::Duration;

use adulis_worker::{Isolation, WorkerOptions};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::check::Check;
use super::units::{OFF, format_bytes, format_duration};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWorkers {
    isolation: Option<String>,
    count: Option<i64>,
    memory_limit: Option<Value>,
    start_timeout: Option<String>,
    ping_interval: Option<String>,
    ping_timeout: Option<String>,
    min_delay: Option<String>,
    max_delay: Option<String>,
    max_crashes: Option<i64>,
    max_transfer_bytes: Option<Value>,
    oom_score_adj: Option<i64>,
}

const ISOLATIONS: [(&str, Isolation); 2] = [("none", Isolation::None), ("process", Isolation::Process)];

/// A day: beyond it a limit is none, or a slip of the unit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Check<'_> {
    pub(super) fn workers(&mut self, raw: &RawWorkers, default: &WorkerOptions) -> WorkerOptions {
        let mut time = |key: &str, text: &Option<String>, default: Duration| {
            let limits = Duration::from_millis(1)..=LONGEST;
            self.duration(&format!("workers.{key}"), text.as_deref(), &limits).unwrap_or(default)
        };
        let start_timeout = time("start_timeout", &raw.start_timeout, default.start_timeout);
        let ping_interval = time("ping_interval", &raw.ping_interval, default.ping_interval);
        let ping_timeout = time("ping_timeout", &raw.ping_timeout, default.ping_timeout);
        let min_delay = time("min_delay", &raw.min_delay, default.min_delay);
        let max_delay = time("max_delay", &raw.max_delay, default.max_delay);
        if ping_timeout <= ping_interval {
            let message = "is not longer than workers.ping_interval: every worker would be killed";
            self.faults.push_with_remedy("workers.ping_timeout", message, "for example \"10s\"");
        }
        if max_delay < min_delay {
            self.faults.push("workers.max_delay", "is shorter than workers.min_delay");
        }
        let small = |number: Option<usize>| number.and_then(|number| u16::try_from(number).ok());
        let isolation = raw.isolation.as_deref();
        WorkerOptions {
            isolation: isolation
                .and_then(|word| self.word("workers.isolation", word, &ISOLATIONS))
                .unwrap_or(default.isolation),
            count: self.whole("workers.count", raw.count, 1..=256).unwrap_or(default.count),
            memory_limit: match &raw.memory_limit {
                None => default.memory_limit,
                Some(Value::String(text)) if text == OFF => None,
                value => self.bytes("workers.memory_limit", value.as_ref()).map(|bytes| bytes as u64),
            },
            start_timeout,
            ping_interval,
            ping_timeout,
            min_delay,
            max_delay,
            max_crashes: small(self.whole("workers.max_crashes", raw.max_crashes, 1..=1000))
                .map_or(default.max_crashes, u32::from),
            max_transfer_bytes: self
                .bytes("workers.max_transfer_bytes", raw.max_transfer_bytes.as_ref())
                .unwrap_or(default.max_transfer_bytes),
            oom_score_adj: small(self.whole("workers.oom_score_adj", raw.oom_score_adj, 0..=1000))
                .unwrap_or(default.oom_score_adj),
        }
    }
}

pub(super) fn print(workers: &WorkerOptions) -> RawWorkers {
    let time = |duration| Some(format_duration(duration));
    let size = |bytes| Some(Value::String(format_bytes(bytes)));
    let isolation = ISOLATIONS.iter().find(|(_, isolation)| *isolation == workers.isolation);
    let limit = workers
        .memory_limit
        .map(|bytes| format_bytes(usize::try_from(bytes).unwrap_or(usize::MAX)));
    RawWorkers {
        isolation: isolation.map(|(word, _)| (*word).to_owned()),
        count: Some(i64::try_from(workers.count).unwrap_or(i64::MAX)),
        memory_limit: Some(Value::String(limit.unwrap_or_else(|| OFF.to_owned()))),
        start_timeout: time(workers.start_timeout),
        ping_interval: time(workers.ping_interval),
        ping_timeout: time(workers.ping_timeout),
        min_delay: time(workers.min_delay),
        max_delay: time(workers.max_delay),
        max_crashes: Some(i64::from(workers.max_crashes)),
        max_transfer_bytes: size(workers.max_transfer_bytes),
        oom_score_adj: Some(i64::from(workers.oom_score_adj)),
    }
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    fn checked(text: &str) -> Result<WorkerOptions, String> {
        let raw: RawWorkers = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        let options = Check { faults: &mut faults }.workers(&raw, &WorkerOptions::default());
        let told = faults.into_vec().into_iter();
        let told: Vec<String> = told.map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
        if told.is_empty() { Ok(options) } else { Err(told.join("\n")) }
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let options = WorkerOptions {
            isolation: Isolation::Process,
            count: 7,
            memory_limit: Some(3 << 30),
            start_timeout: Duration::from_secs(90),
            ping_interval: Duration::from_millis(250),
            ping_timeout: Duration::from_secs(2),
            min_delay: Duration::from_millis(1),
            max_delay: Duration::from_secs(3),
            max_crashes: 1,
            max_transfer_bytes: 77,
            oom_score_adj: 0,
        };
        for options in [options, WorkerOptions::default()] {
            assert_eq!(checked(&toml::to_string(&print(&options)).unwrap()), Ok(options));
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (text, key) in [
            ("isolation = 'thread'", "workers.isolation"),
            ("count = 0", "workers.count"),
            ("memory_limit = 'much'", "workers.memory_limit"),
            ("ping_timeout = '1s'", "workers.ping_timeout"),
            ("max_delay = '1ms'", "workers.max_delay"),
            ("oom_score_adj = -1", "workers.oom_score_adj"),
        ] {
            let told = checked(text).unwrap_err();
            assert!(told.starts_with(key), "{told}");
        }
    }
}
