use std::sync::Arc;

use adulis_tensor::Shape;
use parking_lot::Mutex;

use crate::graph::{Graph, Plan, Symbols};
use crate::guard::{Fault, guarded};

/// Plans for single shapes that are kept; the one that was used longest ago goes first.
const MOST_KEPT: usize = 16;

/// The plans of one model, shared by its instances.
pub(crate) struct Plans {
    source: Source,
}

enum Source {
    /// One plan for every shape.
    Symbolic(Plan),
    /// A plan for each combination of input shapes.
    PerShape {
        graph: Box<Graph>,
        kept: Mutex<Vec<(Vec<Shape>, Plan)>>,
        /// Why there is no plan for every shape.
        reason: String,
    },
}

impl Plans {
    /// Makes the plan for every shape, or, where the graph does not allow that, makes sure that there is one for the
    /// shape `sample`.
    pub(crate) fn new(graph: Graph, sample: &[Shape]) -> Result<Self, Fault> {
        let mut reason = String::new();
        for symbols in [Symbols::SharedBatch, Symbols::Separate] {
            match guarded(|| graph.symbolic(symbols)) {
                Ok(plan) => return Ok(Self { source: Source::Symbolic(plan) }),
                Err(fault) => reason = fault.into_reason(),
            }
        }
        let plan = guarded(|| graph.concrete(sample))?;
        Ok(Self {
            source: Source::PerShape {
                graph: Box::new(graph),
                kept: Mutex::new(vec![(sample.to_vec(), plan)]),
                reason,
            },
        })
    }

    /// Why plans are made per shape; `None` where one serves all.
    pub(crate) fn per_shape_reason(&self) -> Option<&str> {
        match &self.source {
            Source::Symbolic(_) => None,
            Source::PerShape { reason, .. } => Some(reason),
        }
    }

    /// The plan for inputs of these shapes. Where it is not there yet, it is made now, without the lock held.
    pub(crate) fn plan(&self, shapes: impl Fn() -> Vec<Shape>) -> Result<Plan, Fault> {
        let (graph, kept) = match &self.source {
            Source::Symbolic(plan) => return Ok(plan.clone()),
            Source::PerShape { graph, kept, .. } => (graph, kept),
        };
        let shapes = shapes();
        if let Some(plan) = take_front(&mut kept.lock(), &shapes) {
            return Ok(plan);
        }
        let plan = guarded(|| graph.concrete(&shapes))?;
        let mut kept = kept.lock();
        kept.retain(|(other, _)| *other != shapes);
        kept.insert(0, (shapes, Arc::clone(&plan)));
        kept.truncate(MOST_KEPT);
        Ok(plan)
    }
}

fn take_front(kept: &mut Vec<(Vec<Shape>, Plan)>, shapes: &[Shape]) -> Option<Plan> {
    let index = kept.iter().position(|(other, _)| other == shapes)?;
    kept[..=index].rotate_right(1);
    kept.first().map(|(_, plan)| Arc::clone(plan))
}
