//! Who gives what to whom in an ensemble, as numbers: no model, no lock, no clock.

use std::collections::BTreeMap;

use adulis_repository::{Ensemble as Config, EnsembleStep, ModelConfig};
use adulis_types::{ModelRef, Name};
use smallvec::SmallVec;

use crate::LoadError;

/// The data flow of an ensemble. Tensors have numbers: first its inputs, in their order, then what its steps make.
///
/// Each tensor has one maker, an input or a step, and no step waits for itself.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) steps: Vec<Step>,
    pub(crate) tensors: Vec<Link>,
    /// How many of the tensors, from the first on, are inputs.
    pub(crate) inputs: usize,
    /// The tensor that is each output of the ensemble.
    pub(crate) outputs: Vec<usize>,
    /// Every step behind all that it waits for.
    pub(crate) order: Vec<usize>,
}

/// One model's part.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) model: ModelRef,
    /// The model's inputs, each with the tensor that it is given.
    pub(crate) inputs: Vec<(Name, usize)>,
    /// The model's outputs, each with the tensor that it becomes.
    pub(crate) outputs: Vec<(Name, usize)>,
}

/// One tensor: who makes it and who takes it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// The step that makes it; `None` for an input of the ensemble.
    pub(crate) maker: Option<usize>,
    /// The steps that take it; one that takes it twice is there twice.
    pub(crate) takers: SmallVec<[usize; 2]>,
    /// Whether it is an output of the ensemble.
    pub(crate) is_output: bool,
}

impl Graph {
    /// The data flow that a configuration says.
    ///
    /// # Errors
    /// [`LoadError::Configuration`] where it makes no sense, which configurations that were read from files do not.
    pub(crate) fn new(config: &ModelConfig, ensemble: &Config) -> Result<Self, LoadError> {
        let mut graph = Self {
            steps: Vec::with_capacity(ensemble.steps.len()),
            tensors: Vec::new(),
            inputs: config.inputs.len(),
            outputs: Vec::new(),
            order: Vec::new(),
        };
        let mut numbers = BTreeMap::new();
        for input in &config.inputs {
            graph.make(&mut numbers, &input.name, None)?;
        }
        for (index, step) in ensemble.steps.iter().enumerate() {
            for made in step.output_map.values() {
                graph.make(&mut numbers, made, Some(index))?;
            }
        }
        for (index, step) in ensemble.steps.iter().enumerate() {
            graph.step(&numbers, index, step)?;
        }
        for output in &config.outputs {
            let number = numbered(&numbers, "output", &output.name)?;
            graph.tensors[number].is_output = true;
            graph.outputs.push(number);
        }
        graph.order = graph.sorted()?;
        Ok(graph)
    }

    fn make<'c>(
        &mut self,
        numbers: &mut BTreeMap<&'c str, usize>,
        name: &'c str,
        maker: Option<usize>,
    ) -> Result<(), LoadError> {
        if numbers.insert(name, self.tensors.len()).is_some() {
            return Err(fault("ensemble_scheduling", format!("the tensor '{name}' is made twice")));
        }
        let link = Link { name: name.to_owned(), maker, takers: SmallVec::new(), is_output: false };
        self.tensors.push(link);
        Ok(())
    }

    fn step(
        &mut self,
        numbers: &BTreeMap<&str, usize>,
        index: usize,
        step: &EnsembleStep,
    ) -> Result<(), LoadError> {
        let key = format!("ensemble_scheduling.step[{index}]");
        if step.input_map.is_empty() {
            return Err(fault(&key, "nothing starts it: input_map is empty".to_owned()));
        }
        let mut inputs = Vec::with_capacity(step.input_map.len());
        for (input, tensor) in &step.input_map {
            let number = numbered(numbers, &key, tensor)?;
            self.tensors[number].takers.push(index);
            inputs.push((Name::from(input.as_str()), number));
        }
        let outputs = step
            .output_map
            .iter()
            .map(|(output, tensor)| Ok((Name::from(output.as_str()), numbered(numbers, &key, tensor)?)));
        let outputs: Vec<_> = outputs.collect::<Result<_, LoadError>>()?;
        let model = ModelRef { name: step.model_name.as_str().into(), version: step.model_version };
        self.steps.push(Step { model, inputs, outputs });
        Ok(())
    }

    /// The steps, each behind all that it waits for.
    fn sorted(&self) -> Result<Vec<usize>, LoadError> {
        let mut missing: Vec<usize> = self.steps.iter().map(|step| self.made_by_steps(step)).collect();
        let mut order: Vec<usize> = (0..missing.len()).filter(|step| missing[*step] == 0).collect();
        let mut next = 0;
        while let Some(&step) = order.get(next) {
            next += 1;
            for (_, tensor) in &self.steps[step].outputs {
                for &taker in &self.tensors[*tensor].takers {
                    missing[taker] -= 1;
                    if missing[taker] == 0 {
                        order.push(taker);
                    }
                }
            }
        }
        if order.len() < self.steps.len() {
            return Err(fault("ensemble_scheduling", "steps wait for each other's outputs".to_owned()));
        }
        Ok(order)
    }

    /// How many of a step's inputs other steps make.
    fn made_by_steps(&self, step: &Step) -> usize {
        step.inputs.iter().filter(|(_, tensor)| self.tensors[*tensor].maker.is_some()).count()
    }

    /// Which steps have to run where only these outputs are asked for: all but those that lead to nothing but outputs that
    /// nobody asked for.
    pub(crate) fn wanted(&self, output: impl Fn(usize) -> bool) -> SmallVec<[bool; 16]> {
        let mut asked: SmallVec<[bool; 32]> = SmallVec::from_elem(false, self.tensors.len());
        for (index, tensor) in self.outputs.iter().enumerate() {
            asked[*tensor] = output(index);
        }
        let mut wanted: SmallVec<[bool; 16]> = SmallVec::from_elem(false, self.steps.len());
        for &step in self.order.iter().rev() {
            wanted[step] = self.steps[step].outputs.iter().any(|(_, tensor)| {
                let link = &self.tensors[*tensor];
                let leads_nowhere = link.takers.is_empty() && !link.is_output;
                asked[*tensor] || leads_nowhere || link.takers.iter().any(|taker| wanted[*taker])
            });
        }
        wanted
    }
}

fn numbered(numbers: &BTreeMap<&str, usize>, key: &str, tensor: &str) -> Result<usize, LoadError> {
    let number = numbers.get(tensor).copied();
    number.ok_or_else(|| fault(key, format!("nothing makes the tensor '{tensor}'")))
}

fn fault(key: &str, reason: String) -> LoadError {
    LoadError::Configuration { key: key.to_owned(), reason }
}

#[cfg(test)]
pub(super) mod tests;
