use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};

use super::activity::{Activity, InFlight};

/// The body of an answer. The request is in flight until it has come to its end, however long its model is silent.
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) in_flight: InFlight,
}

impl hyper::body::Body for Answer {
    type Data = Part;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map_ok(|frame| frame.map_data(|bytes| Part::new(bytes, self.in_flight.activity())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer. HTTP drops them when they are written, or when nobody wants them any more: until then the client has to
/// take them.
pub(super) struct Part {
    bytes: Bytes,
    activity: Arc<Activity>,
}

impl Part {
    fn new(bytes: Bytes, activity: &Arc<Activity>) -> Self {
        activity.part_given();
        Self { bytes, activity: Arc::clone(activity) }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.activity.part_gone();
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        self.bytes.copy_to_bytes(count)
    }
}
