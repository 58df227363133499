use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, Once};

use adulis_telemetry::QuotaMetrics;
use adulis_types::{ModelPatterns, Name, QuotaPolicy};
use prometheus_client::metrics::counter::Counter;

use crate::{Rate, report};

/// The class of identities that name none, or none that there is.
pub(crate) const DEFAULT: &str = "default";

/// What may be asked for. What is not set is not limited.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Requests.
    pub requests: Option<Rate>,
    /// Rows of all requests together; a request has one at least.
    pub rows: Option<Rate>,
    /// Requests at a time.
    pub concurrent_requests: Option<NonZeroU32>,
    /// Rows in a day, which begins at midnight UTC.
    pub rows_per_day: Option<NonZeroU64>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// One of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::requests`].
    Requests,
    /// [`Limits::rows`].
    Rows,
    /// [`Limits::concurrent_requests`].
    ConcurrentRequests,
    /// [`Limits::rows_per_day`].
    RowsPerDay,
}

impl Limit {
    /// Every one.
    pub const ALL: [Limit; 4] = [
        Limit::Requests,
        Limit::Rows,
        Limit::ConcurrentRequests,
        Limit::RowsPerDay,
    ];

    /// Its name in metrics and header fields.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Limit::Requests => "requests",
            Limit::Rows => "rows",
            Limit::ConcurrentRequests => "concurrent-requests",
            Limit::RowsPerDay => "rows-per-day",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A class of identities.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Class {
    /// What each of them may ask for, of all models together that nothing else is said of.
    pub limits: Limits,
    /// Models that something else holds for, by pattern: what each of them may ask for of each model.
    pub models: BTreeMap<Name, Limits>,
    /// The highest priority that requests of theirs may have, of any model, 1 being the highest; `None`: any.
    pub max_priority: Option<NonZeroU32>,
}

/// The classes that there are, by name.
#[derive(Debug)]
pub(crate) struct Classes {
    named: BTreeMap<Name, Known>,
    /// Whether it was told that an identity names a class that there is not.
    told: Once,
}

/// A class, prepared for look-ups.
#[derive(Debug)]
pub(crate) struct Known {
    limits: Arc<Applied>,
    /// The most exact patterns first.
    models: Vec<(ModelPatterns, Arc<Applied>)>,
    /// The highest priority that requests may have; `None`: any.
    pub(crate) max_priority: Option<NonZeroU32>,
}

/// Limits as they are applied.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) class: Name,
    pub(crate) limits: Limits,
    /// Whether they are counted for each model by itself.
    pub(crate) by_model: bool,
    /// What clients are told of them.
    pub(crate) policy: QuotaPolicy,
    pub(crate) allowed: Counter,
    refused: [Counter; Limit::ALL.len()],
}

impl Applied {
    fn new(class: &Name, limits: &Limits, by_model: bool, metrics: &QuotaMetrics) -> Arc<Self> {
        Arc::new(Self {
            policy: report::policy(limits),
            allowed: metrics.requests(class, "allowed"),
            refused: Limit::ALL.map(|limit| metrics.requests(class, limit.as_str())),
            class: class.clone(),
            limits: limits.clone(),
            by_model,
        })
    }

    /// Requests that met one of the limits.
    pub(crate) fn refused(&self, limit: Limit) -> &Counter {
        &self.refused[limit as usize]
    }
}

impl Classes {
    /// Of these; the one called `default` holds for whoever names none that there is.
    #[must_use]
    pub(crate) fn new(classes: &BTreeMap<Name, Class>, metrics: &QuotaMetrics) -> Self {
        let known = |(name, class): (&Name, &Class)| (name.clone(), Known::new(name, class, metrics));
        Self { named: classes.iter().map(known).collect(), told: Once::new() }
    }

    /// The class of this name, or what holds for whoever names none that there is; `None`: nothing holds.
    pub(crate) fn of(&self, class: &str) -> Option<&Known> {
        let known = self.named.get(class).or_else(|| self.named.get(DEFAULT));
        if known.is_none() && !class.is_empty() {
            self.told.call_once(|| {
                tracing::warn!(
                    class,
                    "an identity names a class of quotas that there is not, and nothing limits it: add [quotas.CLASS], or a \
                     [quotas.default] for all such identities"
                );
            });
        }
        known
    }
}

impl Known {
    /// What holds for a model; `None`: nothing.
    pub(crate) fn find(&self, model: &str) -> Option<&Arc<Applied>> {
        let own = self.models.iter().find(|(pattern, _)| pattern.matches(model));
        let applied = own.map_or(&self.limits, |(_, applied)| applied);
        (!applied.limits.is_none()).then_some(applied)
    }

    fn new(name: &Name, class: &Class, metrics: &QuotaMetrics) -> Self {
        let mut models: Vec<_> = class.models.iter().collect();
        // A name before a pattern, and of patterns the longest first; else in the order of the alphabet.
        models.sort_by_key(|(pattern, _)| (pattern.contains('*'), std::cmp::Reverse(pattern.len())));
        let applied = |limits, by_model| Applied::new(name, limits, by_model, metrics);
        let models = models
            .into_iter()
            .map(|(pattern, limits)| (ModelPatterns::new([pattern.clone()]), applied(limits, true)));
        Self {
            models: models.collect(),
            limits: applied(&class.limits, false),
            max_priority: class.max_priority,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(burst: u64) -> Limits {
        Limits { requests: Some(Rate { per_second: 1.0, burst }), ..Limits::default() }
    }

    fn of(classes: &BTreeMap<Name, Class>) -> Classes {
        Classes::new(classes, &QuotaMetrics::default())
    }

    fn found(classes: &Classes, class: &str, model: &str) -> Option<(u64, bool)> {
        let applied = classes.of(class)?.find(model)?;
        Some((applied.limits.requests.unwrap().burst, applied.by_model))
    }

    #[test]
    fn the_most_exact_pattern_holds() {
        let models = [("*", 2), ("bert*", 3), ("bert", 4), ("*large*", 5), ("none", 0)];
        let limits_of = |burst| if burst == 0 { Limits::default() } else { limits(burst) };
        let models = models.map(|(pattern, burst)| (Name::from(pattern), limits_of(burst)));
        let gold = Class { limits: limits(1), models: models.into(), ..Class::default() };
        let classes = of(&BTreeMap::from([("gold".into(), gold)]));
        assert_eq!(found(&classes, "gold", "bert"), Some((4, true)));
        assert_eq!(found(&classes, "gold", "bert-small"), Some((3, true)));
        assert_eq!(found(&classes, "gold", "bert-large"), Some((5, true)), "the longer one");
        assert_eq!(found(&classes, "gold", "resnet"), Some((2, true)));
        assert_eq!(found(&classes, "gold", "none"), None, "nothing is said of it, so nothing limits it");
        assert_eq!(found(&classes, "silver", "bert"), None, "there is no default");
    }

    #[test]
    fn who_names_no_class_that_there_is_has_the_default() {
        let class = |burst| Class { limits: limits(burst), ..Class::default() };
        let classes = of(&BTreeMap::from([("default".into(), class(1)), ("gold".into(), class(2))]));
        assert_eq!(found(&classes, "gold", "m"), Some((2, false)));
        assert_eq!(found(&classes, "", "m"), Some((1, false)));
        assert_eq!(found(&classes, "typo", "m"), Some((1, false)));
    }
}
