use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::raw::{RawEnsemble, RawModel, RawStep};
use crate::strict::near_miss;
use crate::{Ensemble, EnsembleStep};

/// Most steps of an ensemble: far more than anyone has drawn.
const MAX_STEPS: usize = 1024;

const KEY: &str = "ensemble_scheduling";

impl Check<'_> {
    /// An ensemble, with what else its configuration must and must not have.
    pub(super) fn ensemble(&mut self, raw: &RawModel, scheduling: &RawEnsemble) -> Ensemble {
        if raw.backend.as_deref().is_some_and(|backend| !backend.is_empty()) {
            let message = "an ensemble has no backend of its own";
            self.faults.push_with_remedy("backend", message, "leave it out");
        }
        if let Some(platform) = raw.platform.as_deref()
            && !platform.is_empty()
            && platform != "ensemble"
        {
            let message = format!("is {platform:?}, but ensemble_scheduling is set");
            self.faults.push_with_remedy("platform", message, "set it to \"ensemble\"");
        }
        if !raw.instance_group.is_empty() {
            let message = "an ensemble has no instances of its own";
            self.faults.push_with_remedy("instance_group", message, "leave it out");
        }
        for (side, tensors) in [("input", &raw.input), ("output", &raw.output)] {
            if tensors.is_empty() {
                let message = "is missing: an ensemble has no model file that tells";
                self.faults.push(side, message);
            }
        }
        let requests = scheduling.max_inflight_requests.unwrap_or(0);
        let requests = self.whole(format!("{KEY}.max_inflight_requests"), requests, 0..=i64::from(u32::MAX));
        let ensemble = Ensemble {
            steps: self.steps(&scheduling.step),
            max_inflight_requests: requests.unwrap_or(0),
        };
        self.data_flow(raw, &ensemble.steps);
        ensemble
    }

    fn steps(&mut self, raw: &[RawStep]) -> Vec<EnsembleStep> {
        let key = format!("{KEY}.step");
        if raw.is_empty() {
            self.faults.push(key, "is missing: an ensemble needs at least one");
            return Vec::new();
        }
        if raw.len() > MAX_STEPS {
            let message = format!("expected at most {MAX_STEPS}, got {}", raw.len());
            self.faults.push(key, message);
            return Vec::new();
        }
        let steps = raw.iter().enumerate();
        steps.map(|(index, step)| self.step(&format!("{key}[{index}]"), step)).collect()
    }

    fn step(&mut self, key: &str, raw: &RawStep) -> EnsembleStep {
        let model_name = self.required(&format!("{key}.model_name"), raw.model_name.as_deref());
        if model_name == self.model {
            self.faults.push(format!("{key}.model_name"), "an ensemble cannot be made of itself");
        }
        // 0 is what the text format says of a version that is not written.
        let version = raw.model_version.unwrap_or(-1);
        let version = self.whole::<i64>(format!("{key}.model_version"), version, -1..=i64::MAX);
        for (side, map) in [("input_map", &raw.input_map), ("output_map", &raw.output_map)] {
            if map.is_empty() {
                self.faults.push(format!("{key}.{side}"), "is missing");
            }
            for (tensor, ensemble_tensor) in map {
                if tensor.is_empty() || ensemble_tensor.is_empty() {
                    self.faults.push(format!("{key}.{side}.{tensor}"), "expected the names of two tensors");
                }
            }
        }
        EnsembleStep {
            model_name,
            model_version: version
                .and_then(|version| u64::try_from(version).ok())
                .filter(|version| *version > 0),
            input_map: raw.input_map.clone(),
            output_map: raw.output_map.clone(),
            model_namespace: raw.model_namespace.clone().filter(|namespace| !namespace.is_empty()),
        }
    }

    /// Every tensor has one maker, everything that is taken is made, and no step waits for itself.
    fn data_flow(&mut self, raw: &RawModel, steps: &[EnsembleStep]) {
        let inputs = raw.input.iter().filter_map(|tensor| tensor.name.as_deref());
        let inputs: BTreeSet<&str> = inputs.collect();
        let makers = self.makers(&inputs, steps);
        let known = || inputs.iter().copied().chain(makers.keys().copied());
        for (index, step) in steps.iter().enumerate() {
            for (tensor, taken) in &step.input_map {
                if !inputs.contains(taken.as_str()) && !makers.contains_key(taken.as_str()) {
                    let message = format!("nothing makes the tensor {taken:?}");
                    let key = format!("{KEY}.step[{index}].input_map.{tensor}");
                    self.faults.push_with_hint(key, message, near_miss(taken, known()));
                }
            }
        }
        for (index, output) in raw.output.iter().enumerate() {
            let Some(name) = output.name.as_deref() else {
                continue;
            };
            if !makers.contains_key(name) {
                let hint = near_miss(name, makers.keys().copied());
                let key = format!("output[{index}].name");
                self.faults.push_with_hint(key, format!("no step makes {name:?}"), hint);
            }
        }
        if let Some(index) = first_waiting_for_itself(steps, &makers) {
            let message = "the step waits for its own outputs";
            self.faults.push(format!("{KEY}.step[{index}]"), message);
        }
    }

    /// Which step makes each tensor.
    fn makers<'s>(&mut self, inputs: &BTreeSet<&str>, steps: &'s [EnsembleStep]) -> BTreeMap<&'s str, usize> {
        let mut makers = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            for (tensor, made) in &step.output_map {
                let key = format!("{KEY}.step[{index}].output_map.{tensor}");
                if inputs.contains(made.as_str()) {
                    self.faults.push(key, format!("{made:?} is an input of the ensemble"));
                } else if let Some(other) = makers.insert(made.as_str(), index) {
                    self.faults.push(key, format!("{made:?} is made twice, by step[{other}] too"));
                }
            }
        }
        makers
    }
}

/// The first step of a circle of steps that wait for each other. A tensor that nothing makes is nobody's wait.
fn first_waiting_for_itself(steps: &[EnsembleStep], makers: &BTreeMap<&str, usize>) -> Option<usize> {
    let mut waiting: BTreeSet<usize> = (0..steps.len()).collect();
    loop {
        let runnable = |index: &usize| {
            let mut taken = steps[*index].input_map.values();
            taken.all(|tensor| makers.get(tensor.as_str()).is_none_or(|maker| !waiting.contains(maker)))
        };
        let Some(next) = waiting.iter().copied().find(|index| runnable(index)) else {
            return circle_from(steps, makers, &waiting);
        };
        waiting.remove(&next);
    }
}

/// Of steps none of which can run, one that is in a circle and not merely behind it: walking back long enough ends there.
fn circle_from(
    steps: &[EnsembleStep],
    makers: &BTreeMap<&str, usize>,
    waiting: &BTreeSet<usize>,
) -> Option<usize> {
    let mut current = *waiting.first()?;
    for _ in 0..waiting.len() {
        let mut taken = steps[current].input_map.values().filter_map(|tensor| makers.get(tensor.as_str()));
        current = *taken.find(|maker| waiting.contains(maker))?;
    }
    Some(current)
}
