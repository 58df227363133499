//! Requests of models that have a response cache, on their way between admission and the model's queue.

use std::sync::Arc;
use std::time::Instant;

use adulis_backend::BatchRequest;
use adulis_cache::{Compute, Computed, Found, Inputs, Look, ModelCache, Question, Refresh, Search, value};
use adulis_types::{
    CacheDirective, CacheOutcome, CacheStatus, ErrorKind, Failure, InferResponse, Name, ParameterValue,
    Parameters, RequestId, ServiceError,
};
use smallvec::SmallVec;
use tokio::runtime::Handle;

use crate::EngineError;
use crate::admission::{Admitted, Selection};
use crate::decoupled::About;
use crate::executor::Executor;
use crate::instances::{Entry, Instances};
use crate::job::Answer;
use crate::lane::BatchLane;
use crate::serving::Took;

/// Parameters of responses that say what the response cache had to do with them.
const STATUS: &str = "cache";
const AGE: &str = "cache_age_seconds";

/// What a request is beside its tensors.
pub(crate) struct Asking {
    pub(crate) id: Name,
    pub(crate) request_id: RequestId,
    pub(crate) parameters: Parameters,
    pub(crate) priority: u64,
    pub(crate) deadline: Option<Instant>,
    pub(crate) arrived: Instant,
    pub(crate) directive: CacheDirective,
}

/// Runs one request's rows on its model.
struct Runner<'a> {
    instances: &'a Instances,
    executor: &'a Executor,
    lane: &'a BatchLane,
    asking: &'a Asking,
    /// Rows of the request.
    rows: usize,
    /// The outputs that are wanted; `None` for all.
    outputs: Option<&'a [usize]>,
}

/// What a request needs of its model.
#[derive(Clone, Copy)]
pub(crate) struct Cached<'a> {
    pub(crate) executor: &'a Arc<Executor>,
    pub(crate) lane: &'a BatchLane,
    pub(crate) cache: &'a ModelCache,
}

/// What a look into the response cache showed.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and what is known costs no allocation more"
)]
pub(crate) enum Looked {
    /// The answer.
    Known(Took, InferResponse),
    /// It is still to be found.
    Unknown(Box<Searching>),
}

/// A request whose answer is not known, or not wanted from the cache.
pub(crate) struct Searching {
    /// `None` for one that is not to be remembered.
    search: Option<Search>,
    asking: Asking,
    inputs: Inputs,
    rows: usize,
    selection: Selection,
    outputs: Option<SmallVec<[usize; 4]>>,
}

impl Instances {
    /// Looks a request up in memory. What is known is answered without a lock of the model's lane, a task or a timer.
    pub(crate) fn look_up(self: &Arc<Self>, place: Cached<'_>, asking: Asking, admitted: Admitted) -> Looked {
        let Cached { executor, cache, .. } = place;
        let Admitted { inputs, rows, outputs: selection } = admitted;
        let outputs = wanted(&selection, self.served.interface.outputs.len());
        let reads = self.model.reads_requests();
        let question = Question {
            inputs: &inputs,
            rows: cache.rows_of(rows),
            outputs: outputs.as_deref(),
            told: reads.then_some((asking.id.as_str(), &asking.parameters)),
        };
        let look = match asking.directive {
            CacheDirective::Use => cache.look_up(&question),
            CacheDirective::NoCache => cache.anew(&question),
            CacheDirective::NoStore => Look::Nothing,
        };
        let search = match look {
            Look::Known(mut found) => {
                self.served.cache_metrics().memory.observe(found.spent);
                if let Some(refresh) = found.refresh.take() {
                    let outputs = outputs.as_deref();
                    self.refresh(executor, Refreshing { asking: &asking, refresh, inputs, rows, outputs });
                }
                let (took, response) = self.tell(asking.id, found, (&selection, rows, cache.rows_of(rows)));
                return Looked::Known(took, response);
            }
            Look::Search(mut search) => {
                if let Some(refresh) = search.take_refresh() {
                    let (inputs, outputs) = (inputs.clone(), outputs.as_deref());
                    self.refresh(executor, Refreshing { asking: &asking, refresh, inputs, rows, outputs });
                }
                Some(search)
            }
            Look::Nothing => None,
        };
        Looked::Unknown(Box::new(Searching { search, asking, inputs, rows, selection, outputs }))
    }

    /// Finds an answer that memory did not know, and remembers it.
    pub(crate) async fn search(
        &self,
        place: Cached<'_>,
        searching: Box<Searching>,
    ) -> Result<(Took, InferResponse), EngineError> {
        let Cached { executor, lane, cache } = place;
        let Searching { search, asking, inputs, rows, selection, outputs } = *searching;
        let by_rows = cache.rows_of(rows);
        let outputs = outputs.as_deref();
        let runner = Runner { instances: self, executor, lane, asking: &asking, rows, outputs };
        let found = match search {
            Some(search) => {
                if asking.directive == CacheDirective::Use {
                    self.served.cache_metrics().memory.observe(search.spent());
                }
                let deadline = asking.deadline.map(Into::into);
                cache.resolve(search, (inputs, by_rows), &runner, deadline).await?
            }
            None => {
                let Computed { answer, timings } = runner.run(inputs, None).await?;
                cache.bypassed();
                Found::bypassed(answer, timings, by_rows.unwrap_or(1))
            }
        };
        Ok(self.tell(asking.id, found, (&selection, rows, by_rows)))
    }

    /// The response, which says how it was found.
    fn tell(
        &self,
        id: Name,
        found: Found,
        (selection, rows, by_rows): (&Selection, usize, Option<usize>),
    ) -> (Took, InferResponse) {
        let Found { answer, status, age, rows_run, timings, spent, .. } = found;
        let value::Answer { outputs, mut parameters } = answer;
        parameters.set(STATUS, ParameterValue::String(Name::const_new(status.as_str())));
        parameters.set(AGE, ParameterValue::count(age.as_secs()));
        let answer = Answer { outputs, parameters, timings };
        let mut response = self.served.respond_wanted(id, answer, selection);
        response.cache = Some(CacheOutcome { status, age });
        let rows_run = match by_rows {
            Some(_) => rows_run,
            None if rows_run > 0 => rows,
            None => 0,
        };
        let cache = (status != CacheStatus::Bypass).then_some((status.is_known(), spent));
        (Took { rows: rows_run, cache }, response)
    }

    /// Has what is out of date computed anew, while what is known is answered.
    fn refresh(self: &Arc<Self>, executor: &Arc<Executor>, refreshing: Refreshing<'_>) {
        let Refreshing { asking, refresh, inputs, rows, outputs } = refreshing;
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        // Nobody waits for it: it has no deadline, and the lowest claim that the model's queue knows.
        let asking = Asking {
            id: asking.id.clone(),
            request_id: asking.request_id.clone(),
            parameters: asking.parameters.clone(),
            deadline: None,
            ..*asking
        };
        let (instances, executor) = (Arc::clone(self), Arc::clone(executor));
        let outputs: Option<SmallVec<[usize; 4]>> = outputs.map(SmallVec::from_slice);
        runtime.spawn(async move {
            let (Some(lane), Some(cache)) = (instances.batch_lane(), instances.served.cache.as_deref()) else {
                return;
            };
            let by_rows = cache.rows_of(rows);
            let runner = Runner {
                instances: &instances,
                executor: &executor,
                lane,
                asking: &asking,
                rows,
                outputs: outputs.as_deref(),
            };
            if let Err(error) = cache.revalidate(refresh, (inputs, by_rows), &runner).await {
                let model = &instances.served.interface.model;
                tracing::debug!(%model, %error, "a cached answer that is out of date could not be computed anew");
            }
        });
    }
}

/// What is out of date of a request that was answered.
struct Refreshing<'a> {
    asking: &'a Asking,
    refresh: Refresh,
    inputs: Inputs,
    rows: usize,
    outputs: Option<&'a [usize]>,
}

/// The outputs that a request wants, ascending; `None` where it wants all.
fn wanted(selection: &Selection, all: usize) -> Option<SmallVec<[usize; 4]>> {
    match selection {
        Selection::All => None,
        Selection::These(wanted) if wanted.len() == all => None,
        Selection::These(wanted) => {
            let mut indices: SmallVec<[usize; 4]> = wanted.iter().map(|selected| selected.index).collect();
            indices.sort_unstable();
            Some(indices)
        }
    }
}

impl Compute for Runner<'_> {
    type Error = EngineError;

    async fn run(&self, inputs: Inputs, rows: Option<usize>) -> Result<Computed, EngineError> {
        let Self { instances, executor, lane, asking, .. } = *self;
        let rows = rows.unwrap_or(self.rows);
        let about = instances.model.reads_requests().then(|| {
            let (id, parameters) = (asking.id.clone(), asking.parameters.clone());
            let request = BatchRequest { id, parameters, sequence: None, rows };
            Box::new(About { request, answers: None })
        });
        let entry = Entry {
            request_id: asking.request_id.clone(),
            inputs,
            rows,
            priority: asking.priority,
            deadline: asking.deadline,
            about,
        };
        let Answer { outputs, parameters, timings } =
            instances.run_entry((executor, lane), entry, asking.arrived).await?;
        let outputs = match self.outputs {
            None => outputs,
            Some(wanted) => wanted.iter().filter_map(|index| outputs.get(*index).cloned()).collect(),
        };
        Ok(Computed { answer: value::Answer { outputs, parameters }, timings })
    }

    fn late(&self) -> EngineError {
        self.instances.deadline_exceeded(self.asking.arrived)
    }

    fn lasting(&self, error: &EngineError) -> Option<Failure> {
        // What the model itself says of these inputs; not that it had no room, no time, or broke.
        match error {
            EngineError::Execution { .. } => Some(Failure::new(ErrorKind::Internal, error.client_message())),
            _ => None,
        }
    }

    fn recalled(&self, failure: &Failure) -> EngineError {
        EngineError::Remembered(failure.clone())
    }
}
