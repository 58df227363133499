//! The versions of one model as a state machine, without lock, clock or I/O.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use adulis_types::ModelState;

/// One version. `S` is what serves it.
#[derive(Debug)]
pub(crate) enum Version<S> {
    /// It is being loaded, and nothing answers for it yet.
    Loading,
    Ready(Arc<S>),
    /// It takes no more; what it has is being answered. The weak reference tells it from others that served this version.
    Unloading(Weak<S>),
    Unloaded,
    /// It could not be loaded; why.
    Failed(Arc<str>),
}

/// What loading a version gave: what serves it now, or why nothing does.
pub(crate) type Outcome<S> = (u64, Result<Arc<S>, Arc<str>>);

/// One model: its versions, and what is wrong with it as a whole.
///
/// A model that is loaded again goes through [`Entry::begin`], while its old versions answer, and [`Entry::finish`]. The new
/// set takes the old one's place as a whole or, if any of it failed, not at all. Where nothing answered before, the part
/// that could be loaded serves.
#[derive(Debug)]
pub(crate) struct Entry<S> {
    versions: BTreeMap<u64, Version<S>>,
    /// Why the model could not be loaded, as a whole or again.
    problem: Option<Arc<str>>,
    /// The folder that it was found in.
    repository: Arc<str>,
    /// It is to be forgotten once what it has is answered.
    leaving: bool,
    /// It is wanted for itself, and not only for an ensemble.
    asked: bool,
}

impl<S> Default for Entry<S> {
    fn default() -> Self {
        Self {
            versions: BTreeMap::new(),
            problem: None,
            repository: "".into(),
            leaving: false,
            asked: false,
        }
    }
}

/// What became of a load.
#[derive(Debug)]
pub(crate) struct Finished<S> {
    /// What serves no more, or never will: to be let finish and dropped.
    pub(crate) displaced: Vec<Arc<S>>,
    /// Why the model was not loaded, or not entirely.
    pub(crate) problem: Option<Arc<str>>,
}

impl<S> Entry<S> {
    /// Versions are about to be loaded, because somebody `asked` for the model or for an ensemble. Those that answer go on.
    pub(crate) fn begin(&mut self, repository: &Arc<str>, wanted: &[u64], asked: bool) {
        self.repository = Arc::clone(repository);
        self.asked |= asked;
        self.leaving = false;
        for version in wanted {
            let state = self.versions.entry(*version).or_insert(Version::Loading);
            if !matches!(state, Version::Ready(_)) {
                *state = Version::Loading;
            }
        }
    }

    /// Puts the new set in the old one's place. Each version of it that [`Entry::begin`] was told has its outcome; one that
    /// was taken over from the old set is [`Arc::ptr_eq`] to it.
    pub(crate) fn finish(&mut self, outcomes: Vec<Outcome<S>>) -> Finished<S> {
        let failures = outcomes.iter().filter_map(|(version, outcome)| {
            let reason = outcome.as_ref().err()?;
            Some(format!("version {version}: {reason}"))
        });
        let failures: Vec<String> = failures.collect();
        let problem = (!failures.is_empty()).then(|| failures.join("; ").into());
        let displaced = match &problem {
            Some(problem) if self.answers() => self.keep(outcomes, problem),
            _ => self.replace(outcomes),
        };
        Finished { displaced, problem }
    }

    /// A set that failed: what answered before goes on, and what did not says why.
    fn keep(&mut self, outcomes: Vec<Outcome<S>>, problem: &Arc<str>) -> Vec<Arc<S>> {
        self.problem = Some(Arc::clone(problem));
        let mut displaced = Vec::new();
        for (version, outcome) in outcomes {
            let reason = match outcome {
                Err(reason) => reason,
                Ok(serving) => {
                    if !self.is_serving(version, &serving) {
                        displaced.push(serving);
                    }
                    format!("given up, because not all versions could be loaded: {problem}").into()
                }
            };
            if let Some(Version::Loading) = self.versions.get(&version) {
                self.versions.insert(version, Version::Failed(reason));
            }
        }
        displaced
    }

    fn replace(&mut self, outcomes: Vec<Outcome<S>>) -> Vec<Arc<S>> {
        self.problem = None;
        let old = std::mem::take(&mut self.versions);
        for (version, outcome) in outcomes {
            let state = outcome.map_or_else(Version::Failed, Version::Ready);
            self.versions.insert(version, state);
        }
        let mut displaced = Vec::new();
        for (version, state) in old {
            match state {
                Version::Ready(serving) if !self.is_serving(version, &serving) => {
                    let unloading = Version::Unloading(Arc::downgrade(&serving));
                    self.versions.entry(version).or_insert(unloading);
                    displaced.push(serving);
                }
                Version::Unloading(_) => drop(self.versions.entry(version).or_insert(state)),
                _ => {}
            }
        }
        displaced
    }

    /// The model could not be read or found. What answers goes on.
    pub(crate) fn fail(&mut self, reason: Arc<str>) {
        self.problem = Some(reason);
        self.versions
            .retain(|_, state| matches!(state, Version::Ready(_) | Version::Unloading(_)));
    }

    /// Takes no more requests. Gives back what is to be let finish.
    pub(crate) fn unload(&mut self) -> Vec<Arc<S>> {
        self.problem = None;
        self.asked = false;
        let mut displaced = Vec::new();
        for state in self.versions.values_mut() {
            match std::mem::replace(state, Version::Unloaded) {
                Version::Ready(serving) => {
                    *state = Version::Unloading(Arc::downgrade(&serving));
                    displaced.push(serving);
                }
                Version::Unloading(serving) => *state = Version::Unloading(serving),
                Version::Loading | Version::Unloaded | Version::Failed(_) => {}
            }
        }
        displaced
    }

    /// [`Entry::unload`], and then nothing is left of it.
    pub(crate) fn leave(&mut self) -> Vec<Arc<S>> {
        let displaced = self.unload();
        self.leaving = true;
        self.versions.retain(|_, state| matches!(state, Version::Unloading(_)));
        displaced
    }

    /// What served this version has finished and is gone.
    pub(crate) fn released(&mut self, version: u64, served: &Weak<S>) {
        let Some(Version::Unloading(unloading)) = self.versions.get(&version) else {
            return;
        };
        if !Weak::ptr_eq(unloading, served) {
            return;
        }
        if self.leaving {
            self.versions.remove(&version);
        } else {
            self.versions.insert(version, Version::Unloaded);
        }
    }

    /// Whether there is nothing to be said about it any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.problem.is_none()
    }

    /// Whether a version answers.
    pub(crate) fn answers(&self) -> bool {
        self.latest().is_some()
    }

    /// Whether the server lacks something that it should have: nothing that was to be loaded, or a version of it that is
    /// not there and never was. A model that could not be loaded *again* goes on answering, and lacks nothing.
    pub(crate) fn is_broken(&self) -> bool {
        match &self.problem {
            Some(_) => !self.answers(),
            None => self.versions.values().any(|state| matches!(state, Version::Failed(_))),
        }
    }

    /// What answers for the model: its highest version that can.
    pub(crate) fn latest(&self) -> Option<&Arc<S>> {
        self.ready().next_back().map(|(_, serving)| serving)
    }

    /// The versions that answer, ascending.
    pub(crate) fn ready(&self) -> impl DoubleEndedIterator<Item = (u64, &Arc<S>)> {
        self.versions.iter().filter_map(|(version, state)| match state {
            Version::Ready(serving) => Some((*version, serving)),
            _ => None,
        })
    }

    /// Whether it is wanted for itself, and not only for an ensemble.
    pub(crate) fn asked(&self) -> bool {
        self.asked
    }

    /// Every version, ascending.
    pub(crate) fn versions(&self) -> &BTreeMap<u64, Version<S>> {
        &self.versions
    }

    /// Why the model could not be loaded, as a whole or again.
    pub(crate) fn problem(&self) -> Option<&Arc<str>> {
        self.problem.as_ref()
    }

    /// The folder that it was found in.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    fn is_serving(&self, version: u64, serving: &Arc<S>) -> bool {
        matches!(self.versions.get(&version), Some(Version::Ready(there)) if Arc::ptr_eq(there, serving))
    }
}

impl<S> Version<S> {
    pub(crate) fn state(&self) -> ModelState {
        match self {
            Version::Loading => ModelState::Loading,
            Version::Ready(_) => ModelState::Ready,
            Version::Unloading(_) => ModelState::Unloading,
            Version::Unloaded | Version::Failed(_) => ModelState::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests;
