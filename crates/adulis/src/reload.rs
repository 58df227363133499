//! SIGHUP to a server: what of its configuration can change while it runs does, and the rest is named.

use std::sync::Arc;
use std::time::Duration;

use adulis_telemetry::Log;
use adulis_types::{AuditEvent, AuditLog, AuditOutcome, Change, TraceControl, TraceUpdate};

use crate::cli::ServeArgs;
use crate::config::{Config, Loaded};

/// What can change while the server runs; a section for all of its keys.
const RELOADED: [&str; 8] = [
    "log.filter",
    "log.access",
    "trace.level",
    "trace.rate",
    "trace.count",
    "trace.log_frequency",
    "server.lame_duck",
    "store.shutdown_timeout",
];

/// Reads the configuration again, as the server was started with it.
pub struct Reload {
    args: ServeArgs,
    /// What is in effect.
    running: Config,
    log: Arc<Log>,
}

/// What the part of the server that stops it is to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopTimes {
    pub(crate) lame_duck: Duration,
    pub(crate) store_timeout: Duration,
}

impl Reload {
    /// What to read again, and what is in effect.
    #[must_use]
    pub fn new(args: ServeArgs, running: Config, log: Arc<Log>) -> Self {
        Self { args, running, log }
    }

    /// Reads it. A configuration that is at fault changes nothing. What changes is noted.
    pub(crate) fn reload(&mut self, trace: Option<&dyn TraceControl>, audit: Option<&dyn AuditLog>) {
        let Loaded { config, notes, .. } = match self.args.load() {
            Ok(loaded) => loaded,
            Err(errors) => {
                tracing::error!(%errors, "the configuration is at fault, and stays as it was");
                note(audit, AuditOutcome::Failed, "the configuration is at fault");
                return;
            }
        };
        for note in &notes {
            tracing::warn!("{note}");
        }
        self.apply(config, trace, audit);
    }

    fn apply(&mut self, config: Config, trace: Option<&dyn TraceControl>, audit: Option<&dyn AuditLog>) {
        let (now, later): (Vec<&str>, Vec<&str>) =
            self.running.changed_keys(&config).into_iter().partition(|key| RELOADED.contains(key));
        if let Err(reason) = self.apply_now(&config, &now, trace) {
            tracing::error!(reason, "the configuration cannot be taken over");
            note(audit, AuditOutcome::Failed, &reason);
            return;
        }
        if !now.is_empty() {
            note(audit, AuditOutcome::Done, &now.join(", "));
        }
        self.running.log.filter = config.log.filter;
        self.running.log.access = config.log.access;
        self.running.server.lame_duck = config.server.lame_duck;
        self.running.store.shutdown_timeout = config.store.shutdown_timeout;
        // Where traces go stays.
        let file = std::mem::take(&mut self.running.trace.file);
        self.running.trace = config.trace;
        self.running.trace.file = file;
        if !later.is_empty() {
            let keys = later.join(", ");
            tracing::warn!(
                keys,
                "the configuration has changed in what needs a restart; under `adulis up`, SIGHUP to that one does it \
                 without losing a request"
            );
        }
        tracing::info!(changed = now.join(", "), "configuration read again");
    }

    fn apply_now(
        &self,
        config: &Config,
        keys: &[&str],
        trace: Option<&dyn TraceControl>,
    ) -> Result<(), String> {
        let changed = |section: &str| keys.iter().any(|key| key.starts_with(section));
        if changed("log.") {
            self.log.restart(&config.log_options().filter).map_err(|error| error.to_string())?;
        }
        if let Some(trace) = trace.filter(|_| changed("trace.")) {
            let of = &config.trace;
            let update = TraceUpdate {
                levels: Change::Set(of.levels),
                rate: Change::Set(of.rate),
                count: Change::Set(of.count),
                log_frequency: Change::Set(of.log_frequency),
            };
            let updated = trace.update_trace_settings(None, &update);
            updated.map_err(|fault| fault.client_message().into_owned())?;
        }
        Ok(())
    }

    pub(crate) fn stop_times(&self) -> StopTimes {
        StopTimes {
            lame_duck: self.running.server.lame_duck,
            store_timeout: self.running.store.shutdown_timeout,
        }
    }
}

fn note(audit: Option<&dyn AuditLog>, outcome: AuditOutcome, detail: &str) {
    if let Some(audit) = audit {
        audit.record(&AuditEvent::of_server("config_reload", outcome).with(detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_reloaded_is_there() {
        let default = Config::default();
        let mut other = Config::default();
        other.log.filter = "debug".to_owned();
        other.log.access = true;
        other.server.lame_duck = Duration::from_secs(1);
        other.server.max_connections = 1;
        other.cache.redis.key_prefix = "x".to_owned();
        let changed = default.changed_keys(&other);
        let expected = [
            "server.max_connections",
            "server.lame_duck",
            "cache.redis.key_prefix",
            "log.filter",
            "log.access",
        ];
        assert_eq!(changed, expected);
        assert!(default.changed_keys(&default).is_empty());
    }
}
