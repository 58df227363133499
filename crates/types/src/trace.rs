use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use adulis_tensor::Tensor;

use crate::{InferRequest, InferResponse, Name, TraceLevels};

/// A moment of a request, by Triton's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TraceMoment {
    /// The head of an HTTP request is there.
    HttpRecvStart,
    /// Its body is there.
    HttpRecvEnd,
    /// A gRPC call is there, or the message before this one on its stream is.
    GrpcWaitReadStart,
    /// The message is there.
    GrpcWaitReadEnd,
    /// The service is asked.
    RequestStart,
    /// The request is admitted, and waits for its batch.
    QueueStart,
    /// Its batch has an instance and a thread.
    ComputeStart,
    /// The inputs are where the engine wants them.
    ComputeInputEnd,
    /// The engine has run.
    ComputeOutputStart,
    /// The outputs are taken over.
    ComputeEnd,
    /// A response is there.
    InferResponseComplete,
    /// The service is done.
    RequestEnd,
    /// An HTTP response is about to be encoded.
    HttpSendStart,
    /// It is handed to the connection, all of it.
    HttpSendEnd,
    /// A gRPC message is about to be encoded.
    GrpcSendStart,
    /// It is handed to the connection, all of it.
    GrpcSendEnd,
}

impl TraceMoment {
    /// Triton's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TraceMoment::HttpRecvStart => "HTTP_RECV_START",
            TraceMoment::HttpRecvEnd => "HTTP_RECV_END",
            TraceMoment::GrpcWaitReadStart => "GRPC_WAITREAD_START",
            TraceMoment::GrpcWaitReadEnd => "GRPC_WAITREAD_END",
            TraceMoment::RequestStart => "REQUEST_START",
            TraceMoment::QueueStart => "QUEUE_START",
            TraceMoment::ComputeStart => "COMPUTE_START",
            TraceMoment::ComputeInputEnd => "COMPUTE_INPUT_END",
            TraceMoment::ComputeOutputStart => "COMPUTE_OUTPUT_START",
            TraceMoment::ComputeEnd => "COMPUTE_END",
            TraceMoment::InferResponseComplete => "INFER_RESPONSE_COMPLETE",
            TraceMoment::RequestEnd => "REQUEST_END",
            TraceMoment::HttpSendStart => "HTTP_SEND_START",
            TraceMoment::HttpSendEnd => "HTTP_SEND_END",
            TraceMoment::GrpcSendStart => "GRPC_SEND_START",
            TraceMoment::GrpcSendEnd => "GRPC_SEND_END",
        }
    }
}

/// What was seen of one model's part in a request.
#[derive(Debug, Clone, Default)]
pub struct TraceSpan {
    /// Unique within the process, and higher than its parent's.
    pub id: u64,
    /// The span of the ensemble that asked this model.
    pub parent: Option<u64>,
    /// The model.
    pub model: Name,
    /// Its version, where one has answered or was named.
    pub version: Option<u64>,
    /// The client's id for the request; empty where it gave none.
    pub request_id: Name,
    /// When what happened.
    pub moments: Vec<(TraceMoment, Instant)>,
    /// Inputs and outputs, where they are traced.
    pub tensors: Vec<TracedTensor>,
}

/// An input or output of a traced request. It shares its bytes with the request.
#[derive(Debug, Clone)]
pub struct TracedTensor {
    /// Whether it is an output.
    pub is_output: bool,
    /// Its name.
    pub name: Name,
    /// Its data.
    pub tensor: Tensor,
}

/// Takes finished traces.
pub trait TraceSink: Send + Sync + 'static {
    /// The id of the next span; ids ascend.
    fn next_id(&self) -> u64;

    /// Takes a trace: the span of the request, and those of the models that it asked for in turn. Must not block.
    fn collected(&self, spans: Vec<TraceSpan>);
}

/// The trace of one request that was chosen for it. Clones are the same trace; when the last one is dropped, the trace goes
/// to its sink.
///
/// Whoever has something to tell of the request does it here: the frontend when it came and went, the codecs' `infer` what the
/// service did with it, and a service that asks other models in turn (an ensemble) one [`Trace::child`] for each.
#[derive(Clone)]
pub struct Trace(Arc<Recorder>);

struct Recorder {
    span: Mutex<TraceSpan>,
    /// Whether it has asked other models in turn.
    asks: AtomicBool,
    /// Dropped behind the span: the last of its spans hands it on.
    group: Arc<Group>,
}

/// All spans of one request.
struct Group {
    levels: TraceLevels,
    sink: Arc<dyn TraceSink>,
    done: Mutex<Vec<TraceSpan>>,
}

impl Trace {
    /// Begins the trace of a request for `model`.
    #[must_use]
    pub fn begin(levels: TraceLevels, model: impl Into<Name>, sink: Arc<dyn TraceSink>) -> Self {
        Self::within(Arc::new(Group { levels, sink, done: Mutex::default() }), None, model.into())
    }

    /// Begins the span of a model that this request asks in turn.
    #[must_use]
    pub fn child(&self, model: impl Into<Name>) -> Self {
        self.0.asks.store(true, Ordering::Relaxed);
        Self::within(Arc::clone(&self.0.group), Some(lock(&self.0.span).id), model.into())
    }

    fn within(group: Arc<Group>, parent: Option<u64>, model: Name) -> Self {
        let span = TraceSpan { id: group.sink.next_id(), parent, model, ..TraceSpan::default() };
        Self(Arc::new(Recorder { span: Mutex::new(span), asks: AtomicBool::new(false), group }))
    }

    /// Notes that something happens now.
    pub fn note(&self, moment: TraceMoment) {
        self.note_at(moment, Instant::now());
    }

    /// Notes when something happened.
    pub fn note_at(&self, moment: TraceMoment, at: Instant) {
        if self.0.group.levels.timestamps {
            lock(&self.0.span).moments.push((moment, at));
        }
    }

    /// Notes a request as its service is asked, `at` this moment.
    pub fn asked(&self, request: &InferRequest, at: Instant) {
        self.note_at(TraceMoment::RequestStart, at);
        let mut span = lock(&self.0.span);
        span.request_id = request.id.clone();
        span.version = request.model.version;
        if self.0.group.levels.tensors {
            let traced = request.inputs.iter().map(|input| TracedTensor {
                is_output: false,
                name: input.name.clone(),
                tensor: input.tensor.clone(),
            });
            span.tensors.extend(traced);
        }
    }

    /// Notes one response to a request whose service was asked `at` this moment, with the stages that it tells.
    ///
    /// The stages of a model that asked others in turn are theirs, and are in their spans.
    pub fn answered(&self, response: &InferResponse, at: Instant) {
        let now = Instant::now();
        let mut span = lock(&self.0.span);
        span.version = Some(response.model_version);
        if self.0.group.levels.tensors {
            let traced = response.outputs.iter().map(|output| TracedTensor {
                is_output: true,
                name: (&*output.name).into(),
                tensor: output.tensor.clone(),
            });
            span.tensors.extend(traced);
        }
        drop(span);
        if !self.0.asks.load(Ordering::Relaxed) {
            self.stages(response, at, now);
        }
        self.note_at(TraceMoment::InferResponseComplete, now);
    }

    /// The stages follow each other from the moment that the service was asked, none later than `now`.
    fn stages(&self, response: &InferResponse, at: Instant, now: Instant) {
        let timings = response.timings;
        let mut reached = at;
        self.note_at(TraceMoment::QueueStart, at);
        for (duration, moment) in [
            (timings.queue + timings.batch, TraceMoment::ComputeStart),
            (timings.compute_input, TraceMoment::ComputeInputEnd),
            (timings.compute_infer, TraceMoment::ComputeOutputStart),
            (timings.compute_output, TraceMoment::ComputeEnd),
        ] {
            reached = reached.checked_add(duration).map_or(now, |reached| reached.min(now));
            self.note_at(moment, reached);
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&lock(&self.0.span).id).finish()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let span = self.span.get_mut().unwrap_or_else(PoisonError::into_inner);
        let span = mem::take(span);
        lock(&self.group.done).push(span);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut spans = mem::take(self.done.get_mut().unwrap_or_else(PoisonError::into_inner));
        spans.sort_by_key(|span| span.id);
        self.sink.collected(spans);
    }
}

/// Nothing is left half done under these locks: what a panic leaves there is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use adulis_tensor::{DataType, Shape};

    use super::*;
    use crate::{InputTensor, ModelRef, OutputTensor, Parameters, StageTimings};

    #[derive(Default)]
    struct Kept {
        ids: AtomicU64,
        traces: Mutex<Vec<Vec<TraceSpan>>>,
    }

    impl TraceSink for Kept {
        fn next_id(&self) -> u64 {
            self.ids.fetch_add(1, Ordering::Relaxed) + 1
        }

        fn collected(&self, spans: Vec<TraceSpan>) {
            lock(&self.traces).push(spans);
        }
    }

    fn tensor() -> Tensor {
        Tensor::new(DataType::Uint8, Shape::new(&[1]), vec![7].into()).unwrap()
    }

    fn request() -> InferRequest {
        let mut request = InferRequest::new(ModelRef { name: "m".into(), version: Some(3) });
        request.id = "r".into();
        request.inputs.push(InputTensor { name: "in".into(), tensor: tensor() });
        request
    }

    fn response(compute_infer: Duration) -> InferResponse {
        InferResponse {
            model_name: "m".into(),
            model_version: 3,
            id: "r".into(),
            parameters: Parameters::default(),
            outputs: vec![OutputTensor::new("out", tensor())],
            timings: StageTimings { compute_infer, ..StageTimings::default() },
            cache: None,
            quota: None,
        }
    }

    const ALL: TraceLevels = TraceLevels { timestamps: true, tensors: true };

    #[test]
    fn a_trace_goes_to_its_sink_when_nobody_holds_it() {
        let sink = Arc::new(Kept::default());
        let trace = Trace::begin(ALL, "m", Arc::clone(&sink) as _);
        let held = trace.clone();
        let at = Instant::now();
        trace.asked(&request(), at);
        // Longer than it took: the stages end with the response all the same.
        trace.answered(&response(Duration::from_secs(9)), at);
        trace.note(TraceMoment::RequestEnd);
        drop(trace);
        assert!(lock(&sink.traces).is_empty());
        drop(held);
        let traces = lock(&sink.traces);
        let span = &traces[0][0];
        assert_eq!((span.id, span.parent, span.version, &*span.request_id), (1, None, Some(3), "r"));
        let names: Vec<_> = span.moments.iter().map(|(moment, _)| moment.as_str()).collect();
        assert_eq!(
            names,
            [
                "REQUEST_START",
                "QUEUE_START",
                "COMPUTE_START",
                "COMPUTE_INPUT_END",
                "COMPUTE_OUTPUT_START",
                "COMPUTE_END",
                "INFER_RESPONSE_COMPLETE",
                "REQUEST_END"
            ]
        );
        assert!(span.moments.is_sorted_by_key(|(_, at)| *at));
        let tensors: Vec<_> = span.tensors.iter().map(|tensor| (&*tensor.name, tensor.is_output)).collect();
        assert_eq!(tensors, [("in", false), ("out", true)]);
    }

    #[test]
    fn children_come_with_their_parent_and_have_the_stages() {
        let sink = Arc::new(Kept::default());
        let trace = Trace::begin(ALL, "both", Arc::clone(&sink) as _);
        let child = trace.child("step");
        let at = Instant::now();
        child.answered(&response(Duration::ZERO), at);
        drop(child);
        // One that is asked when another is done has its stages, too.
        trace.child("step").answered(&response(Duration::ZERO), at);
        trace.answered(&response(Duration::ZERO), at);
        drop(trace);
        let traces = lock(&sink.traces);
        assert_eq!(traces[0].len(), 3);
        let (parent, children) = (&traces[0][0], &traces[0][1..]);
        assert!(children.iter().map(|child| (child.id, child.parent)).eq([(2, Some(1)), (3, Some(1))]));
        let has_compute =
            |span: &TraceSpan| span.moments.iter().any(|(moment, _)| *moment == TraceMoment::ComputeEnd);
        assert!(children.iter().all(has_compute) && !has_compute(parent));
    }

    #[test]
    fn only_what_is_asked_for_is_kept() {
        for (timestamps, tensors) in [(true, false), (false, true)] {
            let sink = Arc::new(Kept::default());
            let trace = Trace::begin(TraceLevels { timestamps, tensors }, "m", Arc::clone(&sink) as _);
            trace.asked(&request(), Instant::now());
            trace.answered(&response(Duration::ZERO), Instant::now());
            drop(trace);
            let traces = lock(&sink.traces);
            assert_eq!(traces[0][0].moments.is_empty(), !timestamps);
            assert_eq!(traces[0][0].tensors.is_empty(), !tensors);
        }
    }
}
