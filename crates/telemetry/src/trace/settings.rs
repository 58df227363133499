//! What is traced, for the server and for models: values that fall back on each other. Pure: no clock, no file.

use std::collections::BTreeMap;
use std::sync::Arc;

use adulis_types::{Change, ErrorKind, Failure, Name, TraceLevels, TraceMode, TraceSettings, TraceUpdate};

/// Models that may have settings of their own at a time.
const MAX_MODELS: usize = 4096;

/// Values that are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) levels: TraceLevels,
    pub(super) rate: u32,
    pub(super) count: Option<u32>,
    pub(super) log_frequency: u32,
}

/// Values that clients have set; the others fall back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Own {
    levels: Option<TraceLevels>,
    rate: Option<u32>,
    count: Option<Option<u32>>,
    log_frequency: Option<u32>,
}

/// The settings of the server and of models.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    file: Arc<str>,
    start: Values,
    server: Own,
    models: BTreeMap<Name, Own>,
}

/// What an update leaves behind: which settings have to be made anew, `None` being the server's.
pub(super) type Renewed = Vec<Option<Name>>;

impl Settings {
    pub(super) fn new(file: Arc<str>, start: Values) -> Self {
        Self { file, start, server: Own::default(), models: BTreeMap::new() }
    }

    /// The values for the server or a model.
    pub(super) fn values(&self, model: Option<&str>) -> Values {
        let server = self.server.over(self.start);
        model.and_then(|model| self.models.get(model)).map_or(server, |own| own.over(server))
    }

    /// Whether the model has values of its own.
    pub(super) fn is_own(&self, model: &str) -> bool {
        self.models.contains_key(model)
    }

    /// The settings as clients see them, of which so many traces are left.
    pub(super) fn told(&self, values: Values, left: Option<u32>) -> TraceSettings {
        let Values { levels, rate, log_frequency, .. } = values;
        TraceSettings {
            levels,
            rate,
            count: left,
            log_frequency,
            file: Arc::clone(&self.file),
            mode: TraceMode::Triton,
        }
    }

    /// The settings with a change, and which of them are other ones then.
    ///
    /// # Errors
    /// Where traces would have no file to go to, and for more models with settings of their own than are kept.
    pub(super) fn updated(
        &self,
        model: Option<&str>,
        update: &TraceUpdate,
    ) -> Result<(Self, Renewed), Failure> {
        let mut next = self.clone();
        match model {
            None => next.server.change(update),
            Some(model) => {
                let mut own = self.models.get(model).copied().unwrap_or_default();
                own.change(update);
                if own == Own::default() {
                    next.models.remove(model);
                } else {
                    next.models.insert(model.into(), own);
                }
            }
        }
        let refuse = |message: &str| Err(Failure::new(ErrorKind::InvalidArgument, message.to_owned()));
        if next.models.len() > MAX_MODELS {
            return refuse(&format!(
                "trace settings: {MAX_MODELS} models have some of their own, and no more are kept: clear another's"
            ));
        }
        if next.file.is_empty() && next.values(model).levels != TraceLevels::OFF {
            return refuse(
                "trace settings: the server was started without a trace file (trace.file), so that traces have nowhere to go",
            );
        }
        let renewed = next.renewed_since(self, model, update);
        Ok((next, renewed))
    }

    /// Those that were changed, and those that fall back on them and are others now.
    fn renewed_since(&self, before: &Self, model: Option<&str>, update: &TraceUpdate) -> Renewed {
        if *update == TraceUpdate::default() {
            return Vec::new();
        }
        match model {
            Some(model) => vec![Some(model.into())],
            None => {
                let followers = self.models.keys().filter(|name| {
                    let counts = update.count != Change::Keep && self.models[*name].count.is_none();
                    counts || self.values(Some(name)) != before.values(Some(name))
                });
                std::iter::once(None).chain(followers.cloned().map(Some)).collect()
            }
        }
    }

    /// Whether the number of traces that are left begins anew for these settings with this update.
    pub(super) fn restarts_count(&self, of: Option<&str>, model: Option<&str>, update: &TraceUpdate) -> bool {
        let follows = of.is_some_and(|of| self.models.get(of).is_none_or(|own| own.count.is_none()));
        update.count != Change::Keep && (of == model || (model.is_none() && follows))
    }
}

impl Own {
    fn over(self, fallback: Values) -> Values {
        Values {
            levels: self.levels.unwrap_or(fallback.levels),
            rate: self.rate.unwrap_or(fallback.rate),
            count: self.count.unwrap_or(fallback.count),
            log_frequency: self.log_frequency.unwrap_or(fallback.log_frequency),
        }
    }

    fn change(&mut self, update: &TraceUpdate) {
        apply(&mut self.levels, update.levels);
        apply(&mut self.rate, update.rate);
        apply(&mut self.count, update.count);
        apply(&mut self.log_frequency, update.log_frequency);
    }
}

fn apply<T>(place: &mut Option<T>, change: Change<T>) {
    match change {
        Change::Keep => {}
        Change::Clear => *place = None,
        Change::Set(value) => *place = Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMESTAMPS: TraceLevels = TraceLevels { timestamps: true, tensors: false };
    const START: Values = Values { levels: TraceLevels::OFF, rate: 1000, count: None, log_frequency: 0 };

    fn settings() -> Settings {
        Settings::new("trace.json".into(), START)
    }

    fn keep() -> TraceUpdate {
        TraceUpdate::default()
    }

    #[test]
    fn a_models_own_settings_lie_over_the_servers_over_the_starts() {
        let model = TraceUpdate { rate: Change::Set(5), ..keep() };
        let (settings, renewed) = settings().updated(Some("m"), &model).unwrap();
        assert_eq!(renewed, [Some("m".into())]);
        let server = TraceUpdate { levels: Change::Set(TIMESTAMPS), rate: Change::Set(7), ..keep() };
        let (settings, renewed) = settings.updated(None, &server).unwrap();
        assert_eq!(renewed, [None, Some("m".into())]);
        assert_eq!(settings.values(None), Values { levels: TIMESTAMPS, rate: 7, ..START });
        assert_eq!(settings.values(Some("m")), Values { levels: TIMESTAMPS, rate: 5, ..START });
        assert_eq!(settings.values(Some("other")), settings.values(None));

        let (settings, _) =
            settings.updated(Some("m"), &TraceUpdate { rate: Change::Clear, ..keep() }).unwrap();
        assert!(!settings.is_own("m"));
        let clear = TraceUpdate { levels: Change::Clear, rate: Change::Clear, ..keep() };
        let (settings, renewed) = settings.updated(None, &clear).unwrap();
        assert_eq!((settings.values(Some("m")), renewed), (START, vec![None]));
        let (_, renewed) = settings.updated(None, &keep()).unwrap();
        assert_eq!(renewed, []);
    }

    #[test]
    fn counts_begin_anew_where_they_are_changed() {
        let count = TraceUpdate { count: Change::Set(Some(3)), ..keep() };
        let rate = TraceUpdate { rate: Change::Set(3), ..keep() };
        let (settings, _) = settings().updated(Some("rated"), &rate).unwrap();
        let (settings, _) = settings.updated(Some("counted"), &count).unwrap();
        let (settings, renewed) = settings.updated(None, &count).unwrap();
        assert_eq!(renewed, [None, Some("rated".into())]);
        assert!(settings.restarts_count(None, None, &count));
        assert!(settings.restarts_count(Some("rated"), None, &count));
        assert!(!settings.restarts_count(Some("counted"), None, &count));
        assert!(settings.restarts_count(Some("counted"), Some("counted"), &count));
        assert!(!settings.restarts_count(None, None, &rate));
    }

    #[test]
    fn without_a_file_nothing_is_traced() {
        let settings = Settings::new("".into(), START);
        let on = TraceUpdate { levels: Change::Set(TIMESTAMPS), ..keep() };
        for model in [None, Some("m")] {
            let error = settings.updated(model, &on).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidArgument);
            assert!(error.message.contains("without a trace file"), "{error}");
        }
        settings.updated(None, &TraceUpdate { rate: Change::Set(1), ..keep() }).unwrap();
    }

    #[test]
    fn settings_of_many_models_are_bounded() {
        let rate = TraceUpdate { rate: Change::Set(3), ..keep() };
        let mut settings = settings();
        for index in 0..MAX_MODELS {
            settings.models.insert(index.to_string().into(), Own { rate: Some(3), ..Own::default() });
        }
        let error = settings.updated(Some("more"), &rate).unwrap_err();
        assert!(error.message.contains("clear another's"), "{error}");
        settings.updated(Some("17"), &rate).unwrap();
    }
}
