//! `adulis up`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::Check;
use super::units::format_duration;

/// How `adulis up` keeps its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorConfig {
    /// How long a server that is to take another's place may take to get ready.
    pub start_timeout: Duration,
    /// The delay before a server that ended by itself, soon after its start, is started again, the second time; it doubles each
    /// time.
    pub min_delay: Duration,
    /// How long that delay gets at most.
    pub max_delay: Duration,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            start_timeout: Duration::from_secs(10 * 60),
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSupervisor {
    start_timeout: Option<String>,
    min_delay: Option<String>,
    max_delay: Option<String>,
}

/// A day: beyond it a limit is none, or a slip of the unit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Check<'_> {
    pub(super) fn supervisor(&mut self, raw: &RawSupervisor, default: &SupervisorConfig) -> SupervisorConfig {
        let mut time = |key: &str, text: &Option<String>, default: Duration| {
            let limits = Duration::from_millis(1)..=LONGEST;
            self.duration(&format!("supervisor.{key}"), text.as_deref(), &limits).unwrap_or(default)
        };
        let config = SupervisorConfig {
            start_timeout: time("start_timeout", &raw.start_timeout, default.start_timeout),
            min_delay: time("min_delay", &raw.min_delay, default.min_delay),
            max_delay: time("max_delay", &raw.max_delay, default.max_delay),
        };
        if config.max_delay < config.min_delay {
            self.faults.push("supervisor.max_delay", "is shorter than supervisor.min_delay");
        }
        config
    }
}

impl SupervisorConfig {
    pub(super) fn print(&self) -> RawSupervisor {
        let time = |duration| Some(format_duration(duration));
        RawSupervisor {
            start_timeout: time(self.start_timeout),
            min_delay: time(self.min_delay),
            max_delay: time(self.max_delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    #[test]
    fn what_is_printed_reads_back_the_same_and_what_cannot_be_is_told() {
        let checked = |raw: &RawSupervisor| {
            let mut faults = Faults::default();
            let config = Check { faults: &mut faults }.supervisor(raw, &SupervisorConfig::default());
            (config, faults.into_vec().len())
        };
        let config = SupervisorConfig {
            start_timeout: Duration::from_secs(7),
            min_delay: Duration::from_millis(5),
            max_delay: Duration::from_secs(1),
        };
        assert_eq!(checked(&config.print()), (config.clone(), 0));
        let odd = SupervisorConfig { max_delay: Duration::from_millis(1), ..config };
        assert_eq!(checked(&odd.print()).1, 1);
    }
}
