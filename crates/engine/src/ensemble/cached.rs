use std::sync::Arc;

use adulis_cache::{Inputs, ModelCache};
use adulis_tensor::Tensor;
use adulis_types::{InferResponse, Parameters};
use tokio::runtime::Handle;

use super::Ensemble;
use super::asking::Call;
use super::run::count;
use super::verdict::Resolved;
use crate::EngineError;
use crate::admission::{Admitted, Selected, Selection};
use crate::cached::{Asking, Looked, Lookup, Refreshing, look_up, revalidate, search};
use crate::job::Answer;
use crate::lifecycle::Lifecycle;
use crate::serving::{Scheduler, Served, ServingModel, Took};

/// An ensemble, with the models of one moment, as the response cache sees it: what is not known is run by its steps.
struct OnSteps<'a> {
    ensemble: &'a Ensemble,
    served: &'a Served,
    lifecycle: &'a Arc<Lifecycle>,
    resolved: &'a Resolved,
    cache: &'a ModelCache,
}

impl Lookup for OnSteps<'_> {
    fn served(&self) -> &Served {
        self.served
    }

    fn cache(&self) -> &ModelCache {
        self.cache
    }

    fn reads_requests(&self) -> bool {
        self.resolved.composition.reads_requests()
    }

    fn classified(&self, index: usize, output: Tensor, classes: usize) -> Tensor {
        self.ensemble
            .classified(&self.served.interface, &self.resolved.models, (index, output, classes))
    }

    async fn run(
        &self,
        asking: &Asking,
        (inputs, rows): (Inputs, usize),
        outputs: Option<&[usize]>,
    ) -> Result<Answer, EngineError> {
        let selection = match outputs {
            None => Selection::All,
            Some(wanted) => {
                Selection::These(wanted.iter().map(|&index| Selected { index, classes: 0 }).collect())
            }
        };
        let call = Call { lifecycle: self.lifecycle, asking };
        let models = &self.resolved.models[..];
        let ran = self.ensemble.run_once((self.served, models), &call, (inputs, &selection)).await?;
        let (outputs, timings) = ran;
        count(self.served, rows, &timings);
        let outputs = outputs.into_iter().map(|output| output.tensor).collect();
        Ok(Answer { outputs, parameters: Parameters::default(), timings })
    }
}

/// Answers a request from the response cache, or by the steps of the ensemble that `serving` is, and remembers that.
pub(super) async fn answer(
    (serving, lifecycle): (&Arc<ServingModel>, &Arc<Lifecycle>),
    resolved: &Resolved,
    asking: Asking,
    admitted: Admitted,
) -> Result<(Took, InferResponse), EngineError> {
    let Some(place) = place(serving, lifecycle, resolved) else {
        unreachable!("invariant: this is asked for ensembles that have a response cache");
    };
    let (looked, refreshing) = look_up(&place, asking, admitted);
    if let Some(refreshing) = refreshing {
        refresh(serving, lifecycle, resolved.clone(), refreshing);
    }
    match looked {
        Looked::Known(took, response) => Ok((took, response)),
        Looked::Unknown(searching) => search(&place, searching).await,
    }
}

fn place<'a>(
    serving: &'a ServingModel,
    lifecycle: &'a Arc<Lifecycle>,
    resolved: &'a Resolved,
) -> Option<OnSteps<'a>> {
    let Scheduler::Ensemble(ensemble) = &serving.scheduler else {
        return None;
    };
    let cache = resolved.composition.cache()?;
    Some(OnSteps { ensemble, served: &serving.served, lifecycle, resolved, cache })
}

/// Has what is out of date computed anew, with the models that the request found, while what is known is answered.
fn refresh(
    serving: &Arc<ServingModel>,
    lifecycle: &Arc<Lifecycle>,
    resolved: Resolved,
    refreshing: Box<Refreshing>,
) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let (serving, lifecycle) = (Arc::clone(serving), Arc::clone(lifecycle));
    runtime.spawn(async move {
        if let Some(place) = place(&serving, &lifecycle, &resolved) {
            revalidate(&place, *refreshing).await;
        }
    });
}
