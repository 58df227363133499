//! Requests of models that have a response cache, on their way between admission and what runs them: a model's own instances, or
//! the steps of an ensemble.

mod instances;

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use adulis_cache::{Compute, Computed, Found, Inputs, Look, ModelCache, Question, Refresh, Search, value};
use adulis_tensor::Tensor;
use adulis_types::{
    CacheDirective, CacheOutcome, CacheStatus, ErrorKind, Failure, Identity, InferRequest, InferResponse,
    InputTensor, Name, OutputTensor, ParameterValue, Parameters, RequestId, RequestedOutput, Sequence,
    ServiceError, Trace,
};
use smallvec::SmallVec;

use crate::EngineError;
use crate::admission::{Admitted, Selected, Selection};
use crate::job::Answer;
use crate::serving::{Served, Took};

pub(crate) use instances::OnInstances;

/// Parameters of responses that say what the response cache had to do with them.
const STATUS: &str = "cache";
const AGE: &str = "cache_age_seconds";

/// What a request is beside its tensors.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) id: Name,
    pub(crate) request_id: RequestId,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) parameters: Parameters,
    pub(crate) sequence: Option<Sequence>,
    pub(crate) priority: u64,
    pub(crate) highest_priority: u32,
    pub(crate) deadline: Option<Instant>,
    pub(crate) arrived: Instant,
    pub(crate) directive: CacheDirective,
    pub(crate) trace: Option<Trace>,
}

impl Asking {
    /// A request without its inputs and the outputs that it wants, and these.
    pub(crate) fn of(request: InferRequest) -> (Self, Vec<InputTensor>, Vec<RequestedOutput>) {
        let InferRequest {
            id,
            request_id,
            identity,
            parameters,
            sequence,
            priority,
            highest_priority,
            timeout,
            arrived,
            trace,
            ..
        } = request;
        let deadline = timeout.and_then(|timeout| arrived.checked_add(timeout));
        let directive = request.cache;
        let asking = Self {
            id,
            request_id,
            identity,
            parameters,
            sequence,
            priority,
            highest_priority,
            deadline,
            arrived,
            directive,
            trace,
        };
        (asking, request.inputs, request.outputs)
    }
}

/// A model whose requests are looked up, and how one that is not known is run.
pub(crate) trait Lookup: Sync {
    fn served(&self) -> &Served;

    fn cache(&self) -> &ModelCache;

    /// Whether the model is told of a request's id and parameters.
    fn reads_requests(&self) -> bool;

    /// How late a request is served where requests wait. All are equal, unless it says otherwise.
    fn rank(&self, _asking: &Asking) -> u64 {
        0
    }

    /// An output, or as many of its highest values as classes, where that is wanted.
    fn classified(&self, index: usize, output: Tensor, classes: usize) -> Tensor {
        self.served().interface.classified(index, output, classes)
    }

    /// Runs so many rows. The answer has these outputs, in the signature's order; all where there are none.
    fn run(
        &self,
        asking: &Asking,
        rows: (Inputs, usize),
        outputs: Option<&[usize]>,
    ) -> impl Future<Output = Result<Answer, EngineError>> + Send;
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

/// Rows of a request that are known, out of date, and to be computed anew while it is answered.
pub(crate) struct Refreshing {
    asking: Asking,
    refresh: Refresh,
    inputs: Inputs,
    rows: usize,
    outputs: Option<SmallVec<[usize; 4]>>,
}

/// Looks a request up in memory. What is known is answered without a lock of the model's lane, a task or a timer. Whoever is
/// given something to refresh has a task do so at once.
pub(crate) fn look_up(
    place: &impl Lookup,
    asking: Asking,
    admitted: Admitted,
) -> (Looked, Option<Box<Refreshing>>) {
    let Admitted { inputs, rows, outputs: selection } = admitted;
    let (served, cache) = (place.served(), place.cache());
    let outputs = wanted(&selection, served.interface.outputs.len());
    let question = Question {
        inputs: &inputs,
        rows: cache.rows_of(rows),
        outputs: outputs.as_deref(),
        told: place.reads_requests().then_some((asking.id.as_str(), &asking.parameters)),
    };
    let mut look = match asking.directive {
        CacheDirective::Use => cache.look_up(&question),
        CacheDirective::NoCache => cache.anew(&question),
        CacheDirective::NoStore => Look::Nothing,
    };
    let refresh = match &mut look {
        Look::Known(found) => found.refresh.take(),
        Look::Search(search) => search.take_refresh(),
        Look::Nothing => None,
    };
    let refreshing = refresh.map(|refresh| {
        let (inputs, outputs) = (inputs.clone(), outputs.clone());
        // Nobody waits for it.
        let asking = Asking { deadline: None, trace: None, ..asking.clone() };
        Box::new(Refreshing { asking, refresh, inputs, rows, outputs })
    });
    let search = match look {
        Look::Known(found) => {
            served.cache_metrics().memory.observe(found.spent);
            let (took, response) = tell(place, asking.id, found, (&selection, rows));
            return (Looked::Known(took, response), refreshing);
        }
        Look::Search(search) => Some(search),
        Look::Nothing => None,
    };
    let searching = Searching { search, asking, inputs, rows, selection, outputs };
    (Looked::Unknown(Box::new(searching)), refreshing)
}

/// Finds an answer that memory did not know, and remembers it.
pub(crate) async fn search(
    place: &impl Lookup,
    searching: Box<Searching>,
) -> Result<(Took, InferResponse), EngineError> {
    let Searching { search, asking, inputs, rows, selection, outputs } = *searching;
    let (served, cache) = (place.served(), place.cache());
    let by_rows = cache.rows_of(rows);
    let runner = Runner { place, asking: &asking, rows, outputs: outputs.as_deref() };
    let found = match search {
        Some(search) => {
            if asking.directive == CacheDirective::Use {
                served.cache_metrics().memory.observe(search.spent());
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
    Ok(tell(place, asking.id, found, (&selection, rows)))
}

/// Computes anew what is out of date.
pub(crate) async fn revalidate(place: &impl Lookup, refreshing: Refreshing) {
    let Refreshing { asking, refresh, inputs, rows, outputs } = refreshing;
    let cache = place.cache();
    let runner = Runner { place, asking: &asking, rows, outputs: outputs.as_deref() };
    if let Err(error) = cache.revalidate(refresh, (inputs, cache.rows_of(rows)), &runner).await {
        let model = &place.served().interface.model;
        tracing::debug!(%model, %error, "a cached answer that is out of date could not be computed anew");
    }
}

/// The response, which says how it was found.
fn tell(
    place: &impl Lookup,
    id: Name,
    found: Found,
    (selection, rows): (&Selection, usize),
) -> (Took, InferResponse) {
    let Found { answer, status, age, rows_run, timings, spent, .. } = found;
    let value::Answer { outputs, mut parameters } = answer;
    parameters.set(STATUS, ParameterValue::String(Name::const_new(status.as_str())));
    parameters.set(AGE, ParameterValue::count(age.as_secs()));
    let outputs = named(place, outputs, selection);
    let mut response = place.served().response(id, parameters, (outputs, timings));
    response.cache = Some(CacheOutcome { status, age });
    let rows_run = match place.cache().rows_of(rows) {
        Some(_) => rows_run,
        None if rows_run > 0 => rows,
        None => 0,
    };
    let cache = (status != CacheStatus::Bypass).then_some((status.is_known(), spent));
    (Took { rows: rows_run, cache }, response)
}

/// The outputs that were asked for, in the order in which they were; they came in the signature's.
fn named(place: &impl Lookup, outputs: Vec<Tensor>, selection: &Selection) -> Vec<OutputTensor> {
    let specs = &place.served().interface.outputs;
    let Selection::These(wanted) = selection else {
        let named = specs
            .iter()
            .zip(outputs)
            .map(|(spec, tensor)| OutputTensor::new(spec.name.clone(), tensor));
        return named.collect();
    };
    let position = |index| wanted.iter().filter(|other| other.index < index).count();
    let named = wanted.iter().filter_map(|Selected { index, classes }| {
        let tensor = place.classified(*index, outputs.get(position(*index))?.clone(), *classes);
        Some(OutputTensor::new(specs[*index].name.clone(), tensor))
    });
    named.collect()
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

/// Runs one request's rows on its model.
struct Runner<'a, L> {
    place: &'a L,
    asking: &'a Asking,
    /// Rows of the request.
    rows: usize,
    /// The outputs that are wanted; `None` for all.
    outputs: Option<&'a [usize]>,
}

impl<L: Lookup> Compute for Runner<'_, L> {
    type Error = EngineError;

    async fn run(&self, inputs: Inputs, rows: Option<usize>) -> Result<Computed, EngineError> {
        let rows = rows.unwrap_or(self.rows);
        let answer = self.place.run(self.asking, (inputs, rows), self.outputs).await?;
        let Answer { outputs, parameters, timings } = answer;
        Ok(Computed { answer: value::Answer { outputs, parameters }, timings })
    }

    fn rank(&self) -> u64 {
        self.place.rank(self.asking)
    }

    fn late(&self) -> EngineError {
        self.place.served().deadline_exceeded(self.asking.arrived)
    }

    fn lasting(&self, error: &EngineError) -> Option<Failure> {
        is_the_model_s(error).then(|| Failure::new(ErrorKind::Internal, error.client_message()))
    }

    fn recalled(&self, failure: &Failure) -> EngineError {
        EngineError::Remembered(failure.clone())
    }
}

/// Whether an error is what a model itself says of its inputs; not that it had no room, no time, or broke.
fn is_the_model_s(error: &EngineError) -> bool {
    match error {
        EngineError::Execution { .. } | EngineError::NonFiniteOutput { .. } => true,
        EngineError::Step { source, .. } => is_the_model_s(source),
        _ => false,
    }
}
