//! Traces of single requests.

use std::path::PathBuf;

use adulis_telemetry::TraceOptions;
use adulis_types::TraceLevels;
use serde::{Deserialize, Serialize};

use super::check::Check;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTrace {
    file: Option<PathBuf>,
    level: Option<Vec<String>>,
    rate: Option<i64>,
    count: Option<i64>,
    log_frequency: Option<i64>,
    mode: Option<String>,
}

const OFF: &str = "OFF";
const LEVELS: [(&str, TraceLevels); 3] = [
    (OFF, TraceLevels::OFF),
    ("TIMESTAMPS", TraceLevels { timestamps: true, tensors: false }),
    ("TENSORS", TraceLevels { timestamps: false, tensors: true }),
];
const MODE: &str = "triton";

impl Check<'_> {
    pub(super) fn trace(&mut self, raw: &RawTrace, default: &TraceOptions) -> TraceOptions {
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let rate = self.whole("trace.rate", raw.rate, 1..=i64::from(u32::MAX)).map(small);
        let count =
            self.whole("trace.count", raw.count.filter(|count| *count != -1), 0..=i64::from(i32::MAX));
        let frequency =
            self.whole("trace.log_frequency", raw.log_frequency, 0..=i64::from(u32::MAX)).map(small);
        let options = TraceOptions {
            file: raw.file.clone().unwrap_or_else(|| default.file.clone()),
            levels: raw.level.as_deref().map_or(default.levels, |words| self.trace_levels(words)),
            rate: rate.unwrap_or(default.rate),
            count: count.map(small),
            log_frequency: frequency.unwrap_or(default.log_frequency),
        };
        if options.levels != TraceLevels::OFF && options.file.as_os_str().is_empty() {
            let message = "traces are asked for, and have no file to go to";
            self.faults.push_with_remedy("trace.level", message, "set trace.file");
        }
        self.trace_mode(raw.mode.as_deref());
        options
    }

    fn trace_levels(&mut self, words: &[String]) -> TraceLevels {
        let mut levels = TraceLevels::OFF;
        for (index, word) in words.iter().enumerate() {
            // Triton's scripts write them either way.
            let word = word.to_ascii_uppercase();
            let Some(level) = self.word(&format!("trace.level[{index}]"), &word, &LEVELS) else {
                continue;
            };
            if level == TraceLevels::OFF && words.len() > 1 {
                self.faults.push("trace.level", "\"OFF\" goes with no other level");
            }
            levels.timestamps |= level.timestamps;
            levels.tensors |= level.tensors;
        }
        levels
    }

    fn trace_mode(&mut self, mode: Option<&str>) {
        match mode {
            None => {}
            Some(mode) if mode.eq_ignore_ascii_case(MODE) => {}
            Some(mode) if mode.eq_ignore_ascii_case("opentelemetry") => {
                let message = "OpenTelemetry is not supported by this server";
                self.faults
                    .push_with_remedy("trace.mode", message, "leave it out: traces go to trace.file");
            }
            Some(mode) => {
                self.faults.push("trace.mode", format!("expected \"{MODE}\", got {mode:?}"));
            }
        }
    }
}

pub(super) fn print(options: &TraceOptions) -> RawTrace {
    let TraceOptions { file, levels, rate, count, log_frequency } = options;
    let words = LEVELS.iter().filter(|(_, level)| {
        (level.timestamps && levels.timestamps) || (level.tensors && levels.tensors) || *level == *levels
    });
    let mut words: Vec<String> = words.map(|(word, _)| (*word).to_owned()).collect();
    words.dedup();
    RawTrace {
        file: Some(file.clone()),
        level: Some(words),
        rate: Some(i64::from(*rate)),
        count: Some(count.map_or(-1, i64::from)),
        log_frequency: Some(i64::from(*log_frequency)),
        mode: Some(MODE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    fn checked(text: &str) -> Result<TraceOptions, Vec<String>> {
        let raw: RawTrace = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        let options = Check { faults: &mut faults }.trace(&raw, &TraceOptions::default());
        let told: Vec<String> = faults
            .into_vec()
            .into_iter()
            .map(|fault| format!("{}: {}", fault.key, fault.message))
            .collect();
        if told.is_empty() { Ok(options) } else { Err(told) }
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for text in [
            "",
            "file = 't'\nlevel = ['timestamps']\nrate = 1\ncount = 0\nlog_frequency = 50\nmode = 'Triton'",
            "file = 't'\nlevel = ['TENSORS', 'TIMESTAMPS']\ncount = -1",
            "level = ['OFF']",
            "level = []",
        ] {
            let options = checked(text).unwrap();
            let printed = toml::to_string(&print(&options)).unwrap();
            assert_eq!(checked(&printed).unwrap(), options, "{printed}");
        }
        let options = checked("file = 't'\nlevel = ['TENSORS', 'TIMESTAMPS']").unwrap();
        assert_eq!(options.levels, TraceLevels { timestamps: true, tensors: true });
        assert_eq!((options.rate, options.count, options.log_frequency), (1000, None, 0));
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (text, expected) in [
            ("level = ['TIMESTAMPS']", "trace.level: traces are asked for, and have no file to go to"),
            ("file = 't'\nlevel = ['OFF', 'TENSORS']", "trace.level: \"OFF\" goes with no other level"),
            ("level = ['MAX']", "trace.level[0]: expected one of OFF, TIMESTAMPS, TENSORS, got \"MAX\""),
            ("rate = 0", "trace.rate: expected 1 to 4294967295, got 0"),
            ("count = -2", "trace.count: expected 0 to 2147483647, got -2"),
            ("log_frequency = -1", "trace.log_frequency: expected 0 to 4294967295, got -1"),
            ("mode = 'opentelemetry'", "trace.mode: OpenTelemetry is not supported by this server"),
            ("mode = 'file'", "trace.mode: expected \"triton\", got \"file\""),
        ] {
            assert_eq!(checked(text), Err(vec![expected.to_owned()]), "{text}");
        }
    }
}
