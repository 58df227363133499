use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use adulis_types::{BoxFuture, InferRequest, InferResponse, ServiceError, StageTimings};
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::EngineError;
use crate::lifecycle::Lifecycle;
use crate::serving::{Counted, Scheduler, Served, ServingModel, Took};
use crate::statistics::Position;

/// The answers to one request of an ensemble, however many its steps make. Dropped before their end, they cancel all that is
/// under way.
pub(crate) struct Answers<'a> {
    /// What makes the answers; none once it has ended.
    run: Option<BoxFuture<'a, End>>,
    /// Those that are made and not taken: one, so that a client that does not take them stops what makes them.
    made: mpsc::Receiver<InferResponse>,
    /// How it ended, until that is told.
    end: Option<End>,
    served: Arc<Served>,
    counted: Option<Counted<Arc<Served>>>,
    /// How many answers there were, and when the one before was.
    index: u64,
    before: Instant,
}

/// The rows of the request and the times of its steps, or why it failed.
type End = Result<(usize, StageTimings), EngineError>;

impl<'a> Answers<'a> {
    /// The answers of `serving`, which is an ensemble and held to their end.
    pub(crate) fn new(
        serving: Arc<ServingModel>,
        lifecycle: &'a Arc<Lifecycle>,
        request: InferRequest,
    ) -> Self {
        let (sender, made) = mpsc::channel(1);
        let served = Arc::clone(&serving.served);
        let counted = Counted::new(Arc::clone(&served), request.arrived);
        let run = async move {
            let Scheduler::Ensemble(ensemble) = &serving.scheduler else {
                unreachable!("invariant: these are an ensemble's answers");
            };
            ensemble.run(&serving.served, lifecycle, (request, sender)).await
        };
        Self {
            run: Some(Box::pin(run)),
            made,
            end: None,
            served,
            counted: Some(counted),
            index: 0,
            before: Instant::now(),
        }
    }

    fn advance(&mut self, context: &mut Context<'_>) {
        if let Some(run) = &mut self.run
            && let Poll::Ready(end) = run.as_mut().poll(context)
        {
            self.run = None;
            self.end = Some(end);
        }
    }

    /// Whether nothing follows but an end that went well.
    fn is_last(&self) -> bool {
        matches!(self.end, Some(Ok(_))) && self.made.is_empty()
    }

    /// Counts the request by its end, and gives what there is to tell of it.
    fn finish(&mut self) -> Option<EngineError> {
        let (end, mut counted) = (self.end.take()?, self.counted.take()?);
        match end {
            Ok((rows, timings)) => {
                counted.outcome = Ok((Took::run(rows), timings));
                None
            }
            Err(error) => {
                counted.outcome = Err(error.kind());
                Some(error)
            }
        }
    }

    fn count(&mut self, position: Position) {
        let (index, before) = (self.index, std::mem::replace(&mut self.before, Instant::now()));
        let computed = self.before.saturating_duration_since(before);
        self.served.statistics.responded(index, position, computed, std::time::Duration::ZERO);
        self.index += 1;
    }
}

impl Stream for Answers<'_> {
    type Item = Result<InferResponse, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut made = self.made.poll_recv(context);
        if made.is_pending() {
            self.advance(context);
            made = self.made.poll_recv(context);
        }
        if let Some(response) = ready!(made) {
            self.count(Position::Answered);
            // Whether more follow may be known by now: then this one can be told to be the last.
            self.advance(context);
            if self.is_last() {
                self.finish();
            }
            return Poll::Ready(Some(Ok(response)));
        }
        if let Some(end) = &self.end {
            let position = if end.is_ok() { Position::Empty } else { Position::Failed };
            self.count(position);
        }
        Poll::Ready(self.finish().map(Err))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let is_over = self.run.is_none() && self.end.is_none() && self.made.is_empty();
        (0, is_over.then_some(0))
    }
}
