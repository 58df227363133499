//! What is logged at which level: the directives that the server was started with, and what clients have changed since.

use adulis_types::{LogLineFormat, LogSettings, LogUpdate};
use tracing_core::{Level, LevelFilter};

/// Where our own lines come from: the prefix of all their targets.
const OURS: &str = "adulis";

/// The log's levels. A pure value: it says what the filter has to be, and touches nothing.
///
/// What no client has changed is as the server was started. The level that stands alone in the directives is what clients
/// raise and lower; directives with a target stay in force, unless a client switches a whole level off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Levels {
    /// Directives with a target, span or field.
    targeted: Vec<String>,
    /// The level that stands alone.
    start: LevelFilter,
    changed: LogUpdate,
}

impl Levels {
    /// The levels of directives such as `info,adulis_engine=debug`.
    pub(super) fn of(directives: &str) -> Self {
        let (mut targeted, mut start) = (Vec::new(), None);
        for directive in split(directives) {
            match directive.parse::<LevelFilter>() {
                // The last one holds.
                Ok(level) => start = Some(level),
                Err(_) => targeted.push(directive.to_owned()),
            }
        }
        // With targets alone, nothing else is shown but errors, as the filter's own rule has it.
        Self {
            targeted,
            start: start.unwrap_or(LevelFilter::ERROR),
            changed: LogUpdate::default(),
        }
    }

    /// The same with a change.
    pub(super) fn updated(&self, update: &LogUpdate) -> Self {
        let mut next = self.clone();
        let changed = &mut next.changed;
        changed.info = update.info.or(changed.info);
        changed.warning = update.warning.or(changed.warning);
        changed.error = update.error.or(changed.error);
        changed.verbose_level = update.verbose_level.or(changed.verbose_level);
        changed.format = update.format.or(changed.format);
        next
    }

    /// What is in effect, as clients see it.
    pub(super) fn settings(&self) -> LogSettings {
        let shows = |changed: Option<bool>, level| changed.unwrap_or(self.start >= level);
        LogSettings {
            file: "".into(),
            info: shows(self.changed.info, LevelFilter::INFO),
            warning: shows(self.changed.warning, LevelFilter::WARN),
            error: shows(self.changed.error, LevelFilter::ERROR),
            verbose_level: self.verbose_level(),
            format: self.format(),
        }
    }

    /// How lines look.
    pub(super) fn format(&self) -> LogLineFormat {
        self.changed.format.unwrap_or_default()
    }

    fn verbose_level(&self) -> u32 {
        let start = match self.start {
            LevelFilter::TRACE => 2,
            LevelFilter::DEBUG => 1,
            _ => 0,
        };
        self.changed.verbose_level.unwrap_or(start)
    }

    /// The directives that are in effect. Whole levels that are off are not in them: see [`Levels::hides`].
    ///
    /// Verbose lines are those of Adulis alone: the libraries below it would show what clients send, credentials included.
    pub(super) fn directives(&self) -> String {
        let mut level = self.start;
        if self.changed.verbose_level.is_some() {
            level = level.min(LevelFilter::INFO);
        }
        for (changed, shown) in [
            (self.changed.error, LevelFilter::ERROR),
            (self.changed.warning, LevelFilter::WARN),
            (self.changed.info, LevelFilter::INFO),
        ] {
            if changed == Some(true) {
                level = level.max(shown);
            }
        }
        let mut directives = vec![level.to_string()];
        let verbose = match self.changed.verbose_level {
            None | Some(0) => None,
            Some(1) => Some(LevelFilter::DEBUG),
            Some(_) => Some(LevelFilter::TRACE),
        };
        directives.extend(verbose.map(|verbose| format!("{OURS}={verbose}")));
        directives.extend(self.targeted.iter().cloned());
        directives.join(",")
    }

    /// Levels that a client has switched off, whatever the directives say.
    pub(super) fn hides(&self, level: Level) -> bool {
        let LogUpdate { info, warning, error, .. } = self.changed;
        let shown = match level {
            Level::ERROR => error,
            Level::WARN => warning,
            Level::INFO => info,
            _ => None,
        };
        // Raising one level must not bring those between it and the start's along.
        let between = shown.is_none() && level <= Level::INFO && LevelFilter::from(level) > self.start;
        let raised = [(warning, Level::WARN), (info, Level::INFO)]
            .iter()
            .any(|(changed, raised)| *changed == Some(true) && *raised > level);
        shown == Some(false) || (between && raised)
    }
}

/// Directives, at the commas that are in no brackets.
fn split(directives: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    directives
        .split(move |char| {
            match char {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            char == ',' && depth == 0
        })
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_started_is_as_configured() {
        for (directives, effective, shown) in [
            ("info", "info", (true, true, true, 0)),
            ("warn,adulis_engine=debug", "warn,adulis_engine=debug", (false, true, true, 0)),
            ("adulis=info", "error,adulis=info", (false, false, true, 0)),
            ("off", "off", (false, false, false, 0)),
            ("DEBUG", "debug", (true, true, true, 1)),
            ("info, trace", "trace", (true, true, true, 2)),
            ("info,[span{a=1,b=2}]=trace", "info,[span{a=1,b=2}]=trace", (true, true, true, 0)),
        ] {
            let levels = Levels::of(directives);
            assert_eq!(levels.directives(), effective);
            let settings = levels.settings();
            let told = (settings.info, settings.warning, settings.error, settings.verbose_level);
            assert_eq!(told, shown, "{directives}");
            assert!([Level::ERROR, Level::WARN, Level::INFO].into_iter().all(|level| !levels.hides(level)));
        }
    }

    #[test]
    fn verbose_lines_are_our_own_and_go_again() {
        let levels = Levels::of("info,adulis::access=debug");
        for (level, directives) in [
            (1, "info,adulis=debug,adulis::access=debug"),
            (7, "info,adulis=trace,adulis::access=debug"),
            (0, "info,adulis::access=debug"),
        ] {
            let updated = levels.updated(&LogUpdate { verbose_level: Some(level), ..LogUpdate::default() });
            assert_eq!(
                (updated.directives().as_str(), updated.settings().verbose_level),
                (directives, level)
            );
        }
        let quiet =
            Levels::of("trace").updated(&LogUpdate { verbose_level: Some(0), ..LogUpdate::default() });
        assert_eq!(quiet.directives(), "info");
    }

    #[test]
    fn one_level_goes_and_comes_without_its_neighbours() {
        let levels = Levels::of("info");
        let off = levels.updated(&LogUpdate { warning: Some(false), ..LogUpdate::default() });
        assert!(off.hides(Level::WARN) && !off.hides(Level::INFO) && !off.hides(Level::ERROR));
        assert!(!off.settings().warning && off.settings().info);
        let on = off.updated(&LogUpdate { warning: Some(true), ..LogUpdate::default() });
        assert!(!on.hides(Level::WARN));
        assert_eq!(on.settings(), levels.settings());

        let errors = Levels::of("error");
        let informed = errors.updated(&LogUpdate { info: Some(true), ..LogUpdate::default() });
        assert_eq!(informed.directives(), "info");
        assert!(informed.hides(Level::WARN) && !informed.hides(Level::INFO) && !informed.hides(Level::ERROR));
        let settings = informed.settings();
        assert!(settings.info && !settings.warning && settings.error);
    }
}
