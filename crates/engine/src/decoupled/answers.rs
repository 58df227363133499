use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use adulis_backend::BatchRequest;
use adulis_types::{InferRequest, InferResponse, Name, ServiceError};
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};

use super::{About, Event, MAX_WAITING_ANSWERS};
use crate::EngineError;
use crate::admission::{Admitted, Selection};
use crate::executor::Executor;
use crate::instances::{Entry, Instances};
use crate::job::{Answer, Reply};
use crate::lane::Place;
use crate::plan::queue_timeout;
use crate::serving::{Counted, Served, ServingModel, Took};

/// The answers to one request of a decoupled model. Dropped before their end, they cancel the request.
pub(crate) struct Answers<'a> {
    /// What gives the next answer; none behind the last.
    next: Option<Pin<Box<dyn Future<Output = Step> + Send + 'a>>>,
}

/// An answer, or an error, and what gives the next one.
type Step = (Option<Result<InferResponse, EngineError>>, Option<Asked>);

impl<'a> Answers<'a> {
    pub(crate) fn new(
        serving: Arc<ServingModel>,
        instances: Arc<Instances>,
        executor: &'a Executor,
        request: InferRequest,
    ) -> Self {
        let counted = Counted::new(Arc::clone(&serving.served), request.arrived);
        let asked = Asked { open: None, counted, instances, _serving: serving };
        Self { next: Some(Box::pin(asked.begin(executor, request))) }
    }
}

impl Stream for Answers<'_> {
    type Item = Result<InferResponse, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let (item, rest) = ready!(next.as_mut().poll(context));
        self.next = rest.map(|asked| Box::pin(asked.step()) as _);
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, if self.next.is_some() { None } else { Some(0) })
    }
}

/// A request in progress.
struct Asked {
    /// Dropped first: it cancels what is left of the request.
    open: Option<Open>,
    counted: Counted<Arc<Served>>,
    instances: Arc<Instances>,
    /// As every request, it holds its model to its end.
    _serving: Arc<ServingModel>,
}

impl Asked {
    /// Admits and queues the request, and waits for its first answer.
    async fn begin(mut self, executor: &Executor, request: InferRequest) -> Step {
        match Open::new(&self.instances, executor, request) {
            Ok(open) => {
                self.open = Some(open);
                self.step().await
            }
            Err(error) => self.failed(error),
        }
    }

    async fn step(mut self) -> Step {
        let Some(open) = &mut self.open else {
            return (None, None);
        };
        let (answer, is_last) = match open.wait().await {
            Ok(Event::Answer { outputs, parameters, timings, is_last }) => {
                (Some(Answer { outputs, parameters, timings }), is_last.then_some(timings))
            }
            Ok(Event::End { outcome: Ok(()), timings }) => (None, Some(timings)),
            Ok(Event::End { outcome: Err(reason), .. }) => {
                open.ended = true;
                let model = self.instances.served.interface.model.clone();
                return self.failed(EngineError::Execution { model, reason });
            }
            Err(error) => return self.failed(error),
        };
        let response =
            answer.map(|answer| Ok(self.instances.served.respond(open.id.clone(), answer, &open.outputs)));
        if let Some(timings) = is_last {
            open.ended = true;
            self.counted.outcome = Ok((Took::run(open.rows), timings));
            return (response, None);
        }
        (response, Some(self))
    }

    fn failed(mut self, error: EngineError) -> Step {
        self.counted.outcome = Err(error.kind());
        (Some(Err(error)), None)
    }
}

/// A request that waits in the queue or is being answered.
struct Open {
    instances: Arc<Instances>,
    place: Place,
    events: mpsc::Receiver<Event>,
    /// How the run ended that the request had its part in.
    reply: oneshot::Receiver<Reply>,
    queued: Instant,
    /// Until when it may wait in the queue; none once it has left it.
    queue_timeout: Option<Instant>,
    deadline: Option<Instant>,
    id: Name,
    outputs: Selection,
    rows: usize,
    ended: bool,
}

impl Open {
    fn new(
        instances: &Arc<Instances>,
        executor: &Executor,
        request: InferRequest,
    ) -> Result<Self, EngineError> {
        let InferRequest { id, request_id, identity, parameters, inputs, outputs, priority, .. } = request;
        let Admitted { inputs, rows, outputs } = instances.served.interface.admit(inputs, &outputs)?;
        let deadline = request.timeout.and_then(|timeout| request.arrived.checked_add(timeout));
        let (answers, events) = mpsc::channel(MAX_WAITING_ANSWERS);
        let told = BatchRequest { id: id.clone(), parameters, sequence: request.sequence, rows };
        let about = Some(Box::new(About { request: told, answers: Some(answers) }));
        let (reply, end) = oneshot::channel();
        let lane = instances.batch_lane().ok_or_else(|| EngineError::Unsupported {
            model: instances.served.interface.model.clone(),
            what: "a decoupled model of sequences",
        })?;
        let priority = instances.policy.capped(priority, request.highest_priority);
        let entry = Entry { request_id, identity, inputs, rows, priority, deadline, about };
        let (place, queued) = instances.enqueue((executor, lane), entry, reply)?;
        let timeout = queue_timeout(&instances.policy, priority);
        Ok(Self {
            instances: Arc::clone(instances),
            place,
            events,
            reply: end,
            queued,
            queue_timeout: timeout.and_then(|timeout| queued.checked_add(timeout)),
            deadline,
            id,
            outputs,
            rows,
            ended: false,
        })
    }

    /// What happens next, as far as the limits allow.
    async fn wait(&mut self) -> Result<Event, EngineError> {
        let queue_timeout = self.queue_timeout.take();
        let in_queue = queue_timeout.filter(|at| self.deadline.is_none_or(|deadline| *at < deadline));
        if let Some(at) = in_queue {
            if let Ok(event) = tokio::time::timeout_at(at.into(), self.events.recv()).await {
                return self.event(event).await;
            }
            if self.cancel() {
                self.ended = true;
                return Err(self.instances.queue_timeout(self.queued));
            }
        }
        match self.deadline {
            None => {
                let event = self.events.recv().await;
                self.event(event).await
            }
            Some(at) => match tokio::time::timeout_at(at.into(), self.events.recv()).await {
                Ok(event) => self.event(event).await,
                // Dropping this cancels what is left.
                Err(_) => Err(self.instances.deadline_exceeded(self.queued)),
            },
        }
    }

    /// Takes the request out of the queue (true), or tells its run that it has gone.
    fn cancel(&self) -> bool {
        self.instances.batch_lane().is_some_and(|lane| lane.cancel(self.place))
    }

    /// An event, or why there is none: the run failed, or never began, or let the request go.
    async fn event(&mut self, event: Option<Event>) -> Result<Event, EngineError> {
        if let Some(event) = event {
            return Ok(event);
        }
        self.ended = true;
        match (&mut self.reply).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) => {
                let model = self.instances.served.interface.model.clone();
                let reason = "the backend let go of the request without an end".to_owned();
                Err(EngineError::Execution { model, reason })
            }
            Err(_) => Err(EngineError::Closing),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended {
            self.cancel();
        }
    }
}
