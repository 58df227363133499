use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use adulis_types::{
    BoxFuture, DelegatingService, Fault, InferRequest, InferResponse, InferenceService, QuotaReport,
    ResponseStream, one_response,
};
use futures_core::Stream;

use crate::limits::Applied;
use crate::quotas::{Admitted, AdmittedPlace};
use crate::{Cost, Quotas};

/// A service around another one, which answers what is within the limits of whoever asks.
///
/// A request that nothing limits is passed on as it is, but for the highest priority that it may have.
pub(crate) struct Limited {
    inner: Arc<dyn InferenceService>,
    quotas: Quotas,
}

impl Limited {
    pub(crate) fn new(inner: Arc<dyn InferenceService>, quotas: Quotas) -> Self {
        Self { inner, quotas }
    }

    /// What holds for a request, which has no higher priority afterwards than it may; `None`: nothing.
    fn applied(&self, request: &mut InferRequest) -> Option<Arc<Applied>> {
        let applied = self.quotas.applied(request)?;
        // Names that no model has would push out what is counted of others. They are refused further in.
        let is_counted = !applied.by_model || self.inner.model_ready(&request.model).is_ok();
        is_counted.then_some(applied)
    }

    async fn admit(&self, applied: &Applied, request: &InferRequest) -> Result<Admitted, Fault> {
        let cost = Cost { rows: self.rows(request) };
        Ok(self.quotas.admit(applied, request, cost).await?)
    }

    /// Answers a request that `applied` holds for.
    async fn answer(&self, request: InferRequest, applied: Arc<Applied>) -> Result<InferResponse, Fault> {
        let Admitted { report, place: _place } = self.admit(&applied, &request).await?;
        let mut response = self.inner.infer(request).await?;
        response.quota = Some(Box::new(report));
        Ok(response)
    }

    /// The leading extent of the first input where the model batches; one at least.
    fn rows(&self, request: &InferRequest) -> u64 {
        let leading = request.inputs.first().and_then(|input| input.tensor.shape().rows());
        match leading {
            Some(rows) if rows > 1 && self.inner.batches(&request.model) => rows as u64,
            _ => 1,
        }
    }
}

impl DelegatingService for Limited {
    fn inner(&self) -> &dyn InferenceService {
        &*self.inner
    }

    fn infer(&self, mut request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        match self.applied(&mut request) {
            None => self.inner.infer(request),
            Some(applied) => Box::pin(self.answer(request, applied)),
        }
    }

    fn infer_stream(&self, mut request: InferRequest) -> ResponseStream<'_> {
        let Some(applied) = self.applied(&mut request) else {
            return self.inner.infer_stream(request);
        };
        if !self.inner.decoupled(&request.model) {
            return one_response(Box::pin(self.answer(request, applied)));
        }
        Box::pin(Answers::Admitting(Box::pin(async move {
            let Admitted { report, place } = self.admit(&applied, &request).await?;
            let answers = self.inner.infer_stream(request);
            Ok(Admission { answers, report: Some(Box::new(report)), _place: place })
        })))
    }
}

/// Answers of a request that has to be let through first.
enum Answers<'a> {
    Admitting(BoxFuture<'a, Result<Admission<'a>, Fault>>),
    Admitted(Admission<'a>),
    Refused,
}

/// Answers of one that was.
struct Admission<'a> {
    answers: ResponseStream<'a>,
    /// For the first answer.
    report: Option<Box<QuotaReport>>,
    _place: AdmittedPlace,
}

impl Stream for Answers<'_> {
    type Item = Result<InferResponse, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut *self {
                Self::Admitting(admitting) => match ready!(admitting.as_mut().poll(context)) {
                    Ok(admission) => *self = Self::Admitted(admission),
                    Err(fault) => {
                        *self = Self::Refused;
                        return Poll::Ready(Some(Err(fault)));
                    }
                },
                Self::Admitted(admission) => {
                    let mut answer = ready!(admission.answers.as_mut().poll_next(context));
                    if let Some(Ok(response)) = &mut answer {
                        response.quota = admission.report.take();
                    }
                    return Poll::Ready(answer);
                }
                Self::Refused => return Poll::Ready(None),
            }
        }
    }

    /// That of the answers: by it clients are told which is the last.
    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Admitting(_) => (0, None),
            Self::Admitted(admission) => admission.answers.size_hint(),
            Self::Refused => (0, Some(0)),
        }
    }
}

#[cfg(test)]
mod tests;
