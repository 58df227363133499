//! Which tensors of an ensemble come together, as numbers: once with the request, or with each answer of a decoupled step.

use smallvec::SmallVec;

use super::graph::Graph;

/// What a tensor comes with: the request itself (`None`), or each answer of this decoupled step.
pub(crate) type Origin = Option<usize>;

/// What every step of an ensemble runs with.
///
/// A step runs once for each time that its origin comes; what it makes has the same origin, unless it is decoupled: then that
/// is the step itself. Tensors of different origins cannot meet, since nothing says which of them belong together; this is
/// what Triton demands, too (`ValidateEnsembleConfig`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origins {
    /// Of what each step takes.
    steps: SmallVec<[Origin; 8]>,
    decoupled: SmallVec<[bool; 8]>,
    /// Of all outputs of the ensemble.
    outputs: Origin,
}

/// Two tensors that should come together and do not, each with its origin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    /// The step that takes both; `None` where both are outputs of the ensemble.
    pub(crate) step: Option<usize>,
    pub(crate) tensors: [(usize, Origin); 2],
}

impl Origins {
    /// The origins where these steps are decoupled.
    ///
    /// # Errors
    /// The first [`Clash`] in the order in which steps run.
    pub(crate) fn new(graph: &Graph, decoupled: &[bool]) -> Result<Self, Clash> {
        let mut origins = Self {
            steps: SmallVec::from_elem(None, graph.steps.len()),
            decoupled: decoupled.into(),
            outputs: None,
        };
        for &step in &graph.order {
            let taken = graph.steps[step].inputs.iter().map(|(_, tensor)| *tensor);
            let origin = origins.common(graph, taken);
            origins.steps[step] = origin.map_err(|tensors| Clash { step: Some(step), tensors })?;
        }
        let outputs = origins.common(graph, graph.outputs.iter().copied());
        origins.outputs = outputs.map_err(|tensors| Clash { step: None, tensors })?;
        Ok(origins)
    }

    /// The one origin of these tensors, or two that differ.
    fn common(
        &self,
        graph: &Graph,
        mut tensors: impl Iterator<Item = usize>,
    ) -> Result<Origin, [(usize, Origin); 2]> {
        let of = |tensor: usize| (tensor, self.tensor(graph, tensor));
        let Some(first) = tensors.next().map(of) else {
            return Ok(None);
        };
        match tensors.map(of).find(|other| other.1 != first.1) {
            None => Ok(first.1),
            Some(other) => Err([first, other]),
        }
    }

    fn tensor(&self, graph: &Graph, tensor: usize) -> Origin {
        let maker = graph.tensors[tensor].maker?;
        if self.is_decoupled(maker) { Some(maker) } else { self.steps[maker] }
    }

    /// Whether a step answers any number of times.
    pub(crate) fn is_decoupled(&self, step: usize) -> bool {
        self.decoupled.get(step).copied().unwrap_or(false)
    }

    /// What the outputs of the ensemble come with.
    pub(crate) fn outputs(&self) -> Origin {
        self.outputs
    }
}

#[cfg(test)]
mod tests;
