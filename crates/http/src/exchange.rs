//! What every way to ask for an inference does around its codec: the body within its limits, the service within its time,
//! the answer compressed if that is wished.

use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use adulis_protocol::rest::INFERENCE_HEADER_CONTENT_LENGTH;
use adulis_types::{
    CacheDirective, Entered, HeldBody, InferRequest, InferResponse, InferenceService, Name, Parameters,
    RequestId, Services, Trace, TraceMoment,
};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use parking_lot::Mutex;
use smallvec::{SmallVec, smallvec};

use crate::beside::Beside;
use crate::body::{self, BodyPlan, Intake};
use crate::chunks::Chunks;
use crate::coding::{self, Coding};
use crate::deadline::Deadline;
use crate::error::{HttpError, Refusal};
use crate::rest::Rest;
use crate::timeouts::{self, paced};

/// Says where the JSON of a body ends and its binary tensors begin.
pub(crate) const HEADER_LENGTH: HeaderName = HeaderName::from_static(INFERENCE_HEADER_CONTENT_LENGTH);

/// One request for an inference, from its head to its answer.
pub(crate) struct Exchange<'a> {
    rest: &'a Rest,
    entered: Entered<'a>,
    id: RequestId,
    arrived: Instant,
    timeout: Option<Duration>,
    /// The coding that the client wants its answer in.
    accepted: Option<Coding>,
    /// Whether the client wants an answer that is remembered.
    cache: CacheDirective,
    /// Headers that are parameters of the request.
    forwarded: Parameters,
    /// Where anything is traced.
    tracing: Option<Tracing>,
    /// What the body holds of the server's memory, or its tensors where they are longer.
    held: Mutex<HeldBody>,
}

/// What an exchange notes for a trace that it may turn out to have.
#[derive(Default)]
struct Tracing {
    received: OnceLock<Instant>,
    trace: OnceLock<Trace>,
}

/// An encoded answer.
pub(crate) struct Answer {
    pub(crate) content_type: HeaderValue,
    /// Length of the JSON, where binary tensors follow it.
    pub(crate) header_length: Option<usize>,
    /// The body.
    pub(crate) chunks: SmallVec<[Bytes; 4]>,
}

impl<'a> Exchange<'a> {
    /// Takes what the headers say about time and compression, of a request that may ask for an inference.
    ///
    /// # Errors
    /// [`HttpError::Header`] for a timeout that is none.
    pub(crate) fn begin(
        rest: &'a Rest,
        entered: Entered<'a>,
        headers: &HeaderMap,
        id: RequestId,
    ) -> Result<Self, HttpError> {
        let arrived = Instant::now();
        let timeout = timeouts::from_headers(headers)?;
        let accepted = coding::for_response(headers, rest.options.compression);
        let asked = headers.get_all(header::CACHE_CONTROL).iter().map(HeaderValue::as_bytes);
        let cache = asked.map(CacheDirective::of_header).fold(CacheDirective::Use, CacheDirective::stricter);
        let forwarded = match &rest.options.forward_headers {
            None => Parameters::default(),
            Some(pattern) => {
                pattern.parameters(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
            }
        };
        let is_tracing = entered.services().trace.as_ref().is_some_and(|tracing| tracing.is_tracing());
        let tracing = is_tracing.then(Tracing::default);
        let held = Mutex::default();
        Ok(Self { rest, entered, id, arrived, timeout, accepted, cache, forwarded, tracing, held })
    }

    /// What is asked.
    pub(crate) fn service(&self) -> &'a dyn InferenceService {
        &*self.services().inference
    }

    /// All that the server offers.
    fn services(&self) -> &'a Services {
        self.entered.services()
    }

    /// The way to the services, for what outlives the exchange.
    pub(crate) fn entered(&self) -> &Entered<'a> {
        &self.entered
    }

    /// What the body holds, for what outlives the exchange.
    pub(crate) fn into_held(self) -> HeldBody {
        self.held.into_inner()
    }

    /// Reads the body, decompressed. Its binary section begins at `header_length`, if it has one.
    ///
    /// # Errors
    /// [`HttpError`] for a body over the limit, too late, cut short or wrongly compressed.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        header_length: Option<usize>,
    ) -> Result<Bytes, HttpError> {
        let plan = BodyPlan { declared: None, header_length, limit: self.rest.options.max_body_bytes };
        let (body, held) = read_body(self.rest, headers, body, plan).await?;
        *self.held.lock() = held;
        if let Some(tracing) = &self.tracing {
            let _ = tracing.received.set(Instant::now());
        }
        Ok(body)
    }

    /// The request's trace, if it is chosen for one.
    fn trace(&self, model: &Name) -> Option<Trace> {
        let tracing = self.tracing.as_ref()?;
        let trace = self.services().trace.as_ref()?.sample(model)?;
        trace.note_at(TraceMoment::HttpRecvStart, self.arrived);
        trace.note_at(TraceMoment::HttpRecvEnd, tracing.received.get().copied().unwrap_or(self.arrived));
        // A second request of one exchange has a trace that ends before the response is sent.
        let _ = tracing.trace.set(trace.clone());
        Some(trace)
    }

    /// The request with its id, who sends it, its arrival, the forwarded headers, its trace and the least of all times that were
    /// set. What its tensors take counts as what its body takes.
    ///
    /// # Errors
    /// [`HttpError::Budget`] where there is no room for tensors that are longer than their body.
    pub(crate) fn prepared(&self, mut request: InferRequest) -> Result<InferRequest, HttpError> {
        let tensors = request.inputs.iter().map(|input| input.tensor.data().len()).sum();
        self.rest.options.bodies.cover(&mut self.held.lock(), tensors)?;
        request.request_id = self.id.clone();
        request.identity = self.entered.identity().cloned();
        request.arrived = self.arrived;
        request.cache = request.cache.stricter(self.cache);
        for (name, value) in self.forwarded.iter() {
            request.parameters.set(name, value.clone());
        }
        request.trace = self.trace(&request.model.name);
        for timeout in [self.timeout, self.rest.options.request_timeout].into_iter().flatten() {
            request.limit_timeout(timeout);
        }
        Ok(request)
    }

    /// Has the service answer, within the least of all times that were set.
    ///
    /// # Errors
    /// The service's own; those of [`Exchange::prepared`]; [`HttpError::Deadline`] where it does not answer in time.
    pub(crate) async fn ask(&self, request: InferRequest) -> Result<InferResponse, Refusal> {
        let services = self.services();
        let request = self.prepared(request)?;
        let Some(deadline) = Deadline::of(&request) else {
            return Ok(adulis_protocol::infer(services, request).await?);
        };
        Ok(deadline.within(adulis_protocol::infer(services, request)).await??)
    }

    /// Makes the response.
    ///
    /// # Errors
    /// [`HttpError::Compression`], which writing to memory does not give.
    pub(crate) async fn respond(&self, answer: Answer, beside: Beside) -> Result<Response, Refusal> {
        let Rest { codec, options, .. } = self.rest;
        let trace = self.tracing.as_ref().and_then(|tracing| tracing.trace.get().cloned());
        if let Some(trace) = &trace {
            trace.note(TraceMoment::HttpSendStart);
        }
        let length: usize = answer.chunks.iter().map(Bytes::len).sum();
        let coding = self.accepted.filter(|_| length >= options.min_compress_bytes);
        let chunks = match coding {
            None => answer.chunks,
            Some(coding) => smallvec![codec.deflate(coding, answer.chunks).await?],
        };
        let mut response = Response::new(Body::new(Chunks::new(chunks, trace)));
        let headers = response.headers_mut();
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, coding.header_value());
        }
        headers.insert(header::CONTENT_TYPE, answer.content_type);
        if let Some(length) = answer.header_length {
            headers.insert(HEADER_LENGTH, length.into());
        }
        beside.write(headers);
        Ok(response)
    }
}

/// Reads a whole body, decompressed. The headers say how long it is, the plan what is taken. It counts in the server's budget
/// until what comes with it is dropped.
///
/// # Errors
/// [`HttpError`] for a body over the limit or the budget, too late, cut short or wrongly compressed.
pub(crate) async fn read_body(
    rest: &Rest,
    headers: &HeaderMap,
    body: Body,
    plan: BodyPlan,
) -> Result<(Bytes, HeldBody), HttpError> {
    let coding = coding::of_request(headers)?;
    let declared = length_header(headers, &header::CONTENT_LENGTH)?;
    // The header's length is of the decompressed body.
    let header_length = plan.header_length.filter(|_| coding.is_none());
    let received = AtomicUsize::new(0);
    let mut held = HeldBody::default();
    let intake = Intake { received: &received, budget: &rest.options.bodies, held: &mut held };
    let read = body::read(body, BodyPlan { declared, header_length, ..plan }, intake);
    let bytes = paced(rest.options.body_pace, &received, read).await??;
    match coding {
        None => Ok((bytes, held)),
        Some(coding) => rest.codec.inflate(coding, bytes, plan).await,
    }
}

/// A header that is a length in bytes.
///
/// # Errors
/// [`HttpError::Header`] for what is no whole number.
pub(crate) fn length_header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<usize>, HttpError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("").trim();
    // `parse` alone would take a leading plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(length) if digits => Ok(Some(length)),
        _ => Err(HttpError::Header {
            name: if *name == HEADER_LENGTH {
                "inference-header-content-length"
            } else {
                "content-length"
            },
            given: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            expected: "a length in bytes",
        }),
    }
}
