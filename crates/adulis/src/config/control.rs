//! The three keys that say which models are loaded: one [`ControlMode`].

use std::time::Duration;

use adulis_engine::{ControlMode, StartModels};

use super::check::Check;
use super::raw::RawConfig;

/// How often repositories are looked through where nothing else is set. Triton's.
const DEFAULT_POLL_SECONDS: u64 = 15;

const MAX_POLL_SECONDS: i64 = 24 * 60 * 60;

/// Stands for all models.
const ALL: &str = "*";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    None,
    Explicit,
    Poll,
}

const MODES: [(&str, Mode); 3] = [
    ("none", Mode::None),
    ("explicit", Mode::Explicit),
    ("poll", Mode::Poll),
];

impl Check<'_> {
    pub(super) fn control(&mut self, raw: &RawConfig) -> ControlMode {
        // Triton's scripts write `EXPLICIT`, too.
        let mode = raw.model_control_mode.as_deref().map(str::to_ascii_lowercase);
        let mode = mode.and_then(|mode| self.word("model_control_mode", &mode, &MODES)).unwrap_or(Mode::None);
        let models = self.start_models(raw.load_model.as_deref().unwrap_or_default(), mode);
        let seconds =
            self.whole("repository_poll_seconds", raw.repository_poll_seconds, 0..=MAX_POLL_SECONDS);
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(DEFAULT_POLL_SECONDS);
        match mode {
            Mode::None => ControlMode::None,
            Mode::Explicit => ControlMode::Explicit(models),
            Mode::Poll => {
                if seconds == 0 {
                    let remedy = "set a number of seconds, or model_control_mode = \"none\"";
                    self.faults.push_with_remedy("repository_poll_seconds", "0 would never poll", remedy);
                }
                ControlMode::Poll(Duration::from_secs(seconds.max(1)))
            }
        }
    }

    fn start_models(&mut self, names: &[String], mode: Mode) -> StartModels {
        if !names.is_empty() && mode != Mode::Explicit {
            let message = "takes effect only where models are loaded by request";
            let remedy = "set model_control_mode = \"explicit\", or leave it out";
            self.faults.push_with_remedy("load_model", message, remedy);
        }
        if names.iter().any(String::is_empty) {
            self.faults.push("load_model", "a name is empty");
        }
        if !names.iter().any(|name| name == ALL) {
            return StartModels::Named(names.to_vec());
        }
        if names.len() > 1 {
            self.faults.push_with_remedy(
                "load_model",
                "\"*\" stands for all models",
                "name nothing beside it",
            );
        }
        StartModels::All
    }
}

/// The three keys' values.
pub(super) fn print(control: &ControlMode, raw: &mut RawConfig) {
    let (mode, names, seconds) = match control {
        ControlMode::None => (Mode::None, Vec::new(), DEFAULT_POLL_SECONDS),
        ControlMode::Explicit(StartModels::All) => {
            (Mode::Explicit, vec![ALL.to_owned()], DEFAULT_POLL_SECONDS)
        }
        ControlMode::Explicit(StartModels::Named(names)) => {
            (Mode::Explicit, names.clone(), DEFAULT_POLL_SECONDS)
        }
        ControlMode::Poll(interval) => (Mode::Poll, Vec::new(), interval.as_secs()),
    };
    let word = MODES.iter().find(|(_, candidate)| *candidate == mode).map(|(word, _)| (*word).to_owned());
    raw.model_control_mode = word;
    raw.load_model = Some(names);
    raw.repository_poll_seconds = i64::try_from(seconds).ok();
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    fn control(mode: &str, names: &[&str], seconds: Option<i64>) -> Result<ControlMode, Vec<String>> {
        let raw = RawConfig {
            model_control_mode: Some(mode.to_owned()),
            load_model: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            repository_poll_seconds: seconds,
            ..RawConfig::default()
        };
        let mut faults = Faults::default();
        let control = Check { faults: &mut faults }.control(&raw);
        let told: Vec<String> = faults
            .into_vec()
            .into_iter()
            .map(|fault| format!("{}: {}", fault.key, fault.message))
            .collect();
        if told.is_empty() { Ok(control) } else { Err(told) }
    }

    #[test]
    fn each_mode() {
        let named =
            |names: &[&str]| StartModels::Named(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(control("none", &[], None), Ok(ControlMode::None));
        assert_eq!(control("none", &[], Some(0)), Ok(ControlMode::None));
        assert_eq!(control("explicit", &[], Some(0)), Ok(ControlMode::Explicit(named(&[]))));
        assert_eq!(control("EXPLICIT", &["a", "b"], None), Ok(ControlMode::Explicit(named(&["a", "b"]))));
        assert_eq!(control("explicit", &["*"], None), Ok(ControlMode::Explicit(StartModels::All)));
        assert_eq!(control("poll", &[], None), Ok(ControlMode::Poll(Duration::from_secs(15))));
        assert_eq!(control("poll", &[], Some(2)), Ok(ControlMode::Poll(Duration::from_secs(2))));
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        for (mode, names, seconds, key) in [
            ("manual", &[][..], None, "model_control_mode"),
            ("none", &["a"][..], None, "load_model"),
            ("poll", &["*"][..], None, "load_model"),
            ("explicit", &["*", "a"][..], None, "load_model"),
            ("explicit", &[""][..], None, "load_model"),
            ("poll", &[][..], Some(0), "repository_poll_seconds"),
            ("poll", &[][..], Some(-1), "repository_poll_seconds"),
        ] {
            let told = control(mode, names, seconds).unwrap_err();
            assert!(told.len() == 1 && told[0].starts_with(key), "{mode} {names:?} {seconds:?}: {told:?}");
        }
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for mode in [
            ControlMode::None,
            ControlMode::Explicit(StartModels::All),
            ControlMode::Explicit(StartModels::Named(vec!["a".to_owned()])),
            ControlMode::Poll(Duration::from_secs(7)),
        ] {
            let mut raw = RawConfig::default();
            print(&mode, &mut raw);
            let mut faults = Faults::default();
            assert_eq!(Check { faults: &mut faults }.control(&raw), mode);
            assert!(faults.is_empty());
        }
    }
}
