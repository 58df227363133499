//! Which models an ensemble is made of, and in which order models are loaded: those first that others are made of.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use adulis_repository::ModelConfig;

/// The models of an ensemble's steps; none for other models.
pub(crate) fn steps(config: &ModelConfig) -> Vec<String> {
    let ensemble = config.scheduling.ensemble();
    let steps = ensemble.into_iter().flat_map(|ensemble| &ensemble.steps);
    steps.map(|step| step.model_name.clone()).collect()
}

/// All models that a model is made of, those of its steps counted in, each behind those that it is made of itself. `steps`
/// tells those of one model; a circle ends where it began.
pub(crate) fn below(model: &str, mut steps: impl FnMut(&str) -> Vec<String>) -> Vec<String> {
    let mut descent = Descent::new(model, steps(model));
    while let Some(next) = descent.next() {
        let steps = steps(&next);
        descent.enter(next, steps);
    }
    descent.into_found()
}

/// The way down through what a model is made of, one model at a time.
#[derive(Debug)]
pub(crate) struct Descent {
    seen: HashSet<String>,
    /// The models between the first and the one that was entered last, each with the steps that were not looked at yet.
    path: Vec<(String, std::vec::IntoIter<String>)>,
    found: Vec<String>,
}

impl Descent {
    /// Begins with the steps of a model.
    pub(crate) fn new(model: &str, steps: Vec<String>) -> Self {
        Self {
            seen: HashSet::from([model.to_owned()]),
            path: vec![(model.to_owned(), steps.into_iter())],
            found: Vec::new(),
        }
    }

    /// The next model, whose steps are to be told by [`Descent::enter`]; `None` when all have been entered. Each comes once.
    pub(crate) fn next(&mut self) -> Option<String> {
        while let Some((_, rest)) = self.path.last_mut() {
            match rest.next() {
                Some(next) if self.seen.insert(next.clone()) => return Some(next),
                Some(_) => {}
                None => self.found.extend(self.path.pop().map(|(done, _)| done)),
            }
        }
        None
    }

    /// Tells what a model that came next is made of.
    pub(crate) fn enter(&mut self, model: String, steps: Vec<String>) {
        self.path.push((model, steps.into_iter()));
    }

    /// All models that were entered, each behind those that it is made of.
    pub(crate) fn into_found(mut self) -> Vec<String> {
        // The last is the one that it began with.
        self.found.pop();
        self.found
    }
}

/// Something that is to be done for a model, and the models for which something has to be done before.
pub(crate) struct Arranged<T> {
    pub(crate) item: T,
    pub(crate) after: Vec<Arc<str>>,
}

/// Puts what concerns ensembles behind what concerns the models that they are made of; beyond that, the order stays.
pub(crate) fn arranged<T>(
    items: Vec<T>,
    name: impl Fn(&T) -> &str,
    steps: impl Fn(&str) -> Vec<String>,
) -> Vec<Arranged<T>> {
    let (ensembles, plain): (Vec<T>, Vec<T>) =
        items.into_iter().partition(|item| !steps(name(item)).is_empty());
    let mut arranged: Vec<Arranged<T>> =
        plain.into_iter().map(|item| Arranged { item, after: Vec::new() }).collect();
    let order: Vec<String> = ensembles.iter().map(|item| name(item).to_owned()).collect();
    let mut ensembles: BTreeMap<String, T> =
        ensembles.into_iter().map(|item| (name(&item).to_owned(), item)).collect();
    for outer in order {
        let all = below(&outer, &steps);
        for ensemble in all.iter().chain([&outer]) {
            let Some(item) = ensembles.remove(ensemble) else {
                continue;
            };
            let after = below(ensemble, &steps).iter().map(|name| name.as_str().into()).collect();
            arranged.push(Arranged { item, after });
        }
    }
    arranged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &'static [(&'static str, &'static [&'static str])]) -> impl Fn(&str) -> Vec<String> + Copy {
        |model: &str| {
            let found = pairs.iter().find(|(name, _)| *name == model);
            found.into_iter().flat_map(|(_, steps)| *steps).map(|step| (*step).to_owned()).collect()
        }
    }

    #[test]
    fn what_an_ensemble_is_made_of_comes_before_it() {
        let steps = of(&[("e", &["f", "a"]), ("f", &["b", "c"]), ("g", &["e"])]);
        assert_eq!(below("g", steps), ["b", "c", "f", "a", "e"]);
        assert_eq!(below("a", steps), [""; 0]);
        let arranged = arranged(vec!["g", "e", "b", "f", "a"], |name| name, steps);
        let order: Vec<&str> = arranged.iter().map(|arranged| arranged.item).collect();
        assert_eq!(order, ["b", "a", "f", "e", "g"]);
        let after: Vec<&str> = arranged[2].after.iter().map(|name| &**name).collect();
        assert_eq!(after, ["b", "c"], "also behind what is not among them");
    }

    #[test]
    fn a_circle_ends() {
        let steps = of(&[("e", &["f", "a"]), ("f", &["e"])]);
        assert_eq!(below("e", steps), ["f", "a"]);
        let arranged = arranged(vec!["e", "f", "a"], |name| name, steps);
        let order: Vec<&str> = arranged.iter().map(|arranged| arranged.item).collect();
        assert_eq!(order, ["a", "f", "e"]);
    }
}
