//! Models that answer more than once, or not at all.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use adulis_types::{Fault, InferRequest, InferResponse, OutputTensor, ResponseStream};
use futures_core::Stream;

use super::{echo, failure};

/// The answers of `each` and `each-fails`: one for every row of the first input, the latter with an error behind them.
/// `None` for all other models.
pub(super) fn answers(request: &InferRequest) -> Option<ResponseStream<'static>> {
    let fails = match &*request.model.name {
        "each" => false,
        "each-fails" => true,
        _ => return None,
    };
    let mut items: VecDeque<Result<InferResponse, Fault>> = rows(request).into_iter().map(Ok).collect();
    if fails {
        items.push_back(Err(failure("internal").into()));
    }
    Some(Box::pin(Answers(items)))
}

fn rows(request: &InferRequest) -> Vec<InferResponse> {
    let Some(input) = request.inputs.first() else {
        return Vec::new();
    };
    let count = input.tensor.shape().first().copied().unwrap_or(0);
    let parts = input.tensor.split_rows(std::iter::repeat_n(1, count)).unwrap_or_default();
    let answer = |tensor| {
        let outputs = vec![OutputTensor::new(input.name.as_str(), tensor)];
        InferResponse { outputs, ..echo(request.clone()) }
    };
    parts.into_iter().map(answer).collect()
}

struct Answers(VecDeque<Result<InferResponse, Fault>>);

impl Stream for Answers {
    type Item = Result<InferResponse, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}
