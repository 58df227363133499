use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use adulis_types::{Trace, TraceMoment};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

/// A response body of ready chunks, written vectored and never joined. Its length is known, so it goes out with a
/// `Content-Length`.
pub(crate) struct Chunks {
    chunks: SmallVec<[Bytes; 4]>,
    next: usize,
    remaining: u64,
    /// Dropped with the body, behind all that is sent of it.
    _sent: Option<Sent>,
}

/// Notes in a trace that a response is handed to the connection, when it is dropped.
struct Sent(Trace);

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.note(TraceMoment::HttpSendEnd);
    }
}

impl Chunks {
    /// The body of these chunks. Its trace, if it has one, notes when it is gone.
    pub(crate) fn new(chunks: SmallVec<[Bytes; 4]>, trace: Option<Trace>) -> Self {
        let remaining = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let mut body = Self { chunks, next: 0, remaining, _sent: trace.map(Sent) };
        body.skip_empty();
        body
    }

    /// An empty frame would look like the end to some clients.
    fn skip_empty(&mut self) {
        while self.chunks.get(self.next).is_some_and(Bytes::is_empty) {
            self.next += 1;
        }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let index = self.next;
        let Some(chunk) = self.chunks.get_mut(index).map(std::mem::take) else {
            return Poll::Ready(None);
        };
        self.next += 1;
        self.remaining -= chunk.len() as u64;
        self.skip_empty();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.chunks.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use smallvec::smallvec;

    use super::*;

    #[tokio::test]
    async fn writes_every_chunk_with_an_exact_length() {
        let parts: SmallVec<[Bytes; 4]> = smallvec![
            Bytes::new(),
            Bytes::from_static(b"ab"),
            Bytes::new(),
            Bytes::from_static(b"c")
        ];
        let body = Chunks::new(parts, None);
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
        assert!(Chunks::new(smallvec![Bytes::new()], None).is_end_stream());
    }
}
