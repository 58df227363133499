use std::sync::atomic::{AtomicUsize, Ordering};

use adulis_tensor::AlignedBuffer;
use adulis_types::{BodyBudget, HeldBody};
use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::error::HttpError;

/// Binary tensors begin on a boundary of this many bytes.
const ALIGNMENT_BYTES: usize = 64;
/// The first allocation for a body of unknown length.
const FIRST_BYTES: usize = 16 * 1024;

/// What is known about a body before it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyPlan {
    /// Its `Content-Length`.
    pub(crate) declared: Option<usize>,
    /// Where its binary section begins, if it has one.
    pub(crate) header_length: Option<usize>,
    /// The most bytes that are taken.
    pub(crate) limit: usize,
}

/// What is noted of a body while it comes.
pub(crate) struct Intake<'a> {
    /// How many bytes of it have come.
    pub(crate) received: &'a AtomicUsize,
    /// What they are counted in.
    pub(crate) budget: &'a BodyBudget,
    pub(crate) held: &'a mut HeldBody,
}

/// Reads a whole body.
///
/// Copies: none where the first frame is the whole body, as it is for small requests; otherwise each frame once, into one
/// buffer in which the binary section begins on a 64-byte boundary.
///
/// # Errors
/// [`HttpError::TooLarge`] before anything is read where the declared length is over the limit, and at the frame that passes it
/// otherwise; [`HttpError::Budget`] at one that the server has no room for; [`HttpError::BodyBroken`] and
/// [`HttpError::BodyLength`] for a body that is cut short.
pub(crate) async fn read(mut body: Body, plan: BodyPlan, mut intake: Intake<'_>) -> Result<Bytes, HttpError> {
    let limit = plan.limit;
    if plan.declared.is_some_and(|declared| declared > limit) {
        return Err(HttpError::TooLarge { limit });
    }
    let Some(first) = next_data(&mut body, &mut intake).await? else {
        return whole(Bytes::new(), plan);
    };
    if body.is_end_stream() {
        return whole(first, plan);
    }
    // HTTP/2 may tell the end apart from the last data.
    let Some(mut frame) = next_data(&mut body, &mut intake).await? else {
        return whole(first, plan);
    };
    let mut buffer = BodyBuffer::new(plan);
    buffer.append(&first)?;
    drop(first);
    loop {
        buffer.append(&frame)?;
        let Some(next) = next_data(&mut body, &mut intake).await? else {
            break;
        };
        frame = next;
    }
    whole(buffer.freeze(), plan)
}

fn whole(bytes: Bytes, plan: BodyPlan) -> Result<Bytes, HttpError> {
    match plan.declared {
        Some(declared) if declared != bytes.len() => {
            Err(HttpError::BodyLength { declared, actual: bytes.len() })
        }
        _ if bytes.len() > plan.limit => Err(HttpError::TooLarge { limit: plan.limit }),
        _ => Ok(bytes),
    }
}

/// The next data frame; trailers are skipped.
async fn next_data(body: &mut Body, intake: &mut Intake<'_>) -> Result<Option<Bytes>, HttpError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| HttpError::BodyBroken { source })?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            intake.received.fetch_add(data.len(), Ordering::Relaxed);
            intake.budget.take(intake.held, data.len())?;
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// A growing body, placed so that its binary section begins on a 64-byte boundary.
#[derive(Debug)]
pub(crate) struct BodyBuffer {
    buffer: AlignedBuffer,
    start: usize,
    end: usize,
    limit: usize,
}

impl BodyBuffer {
    pub(crate) fn new(plan: BodyPlan) -> Self {
        let start = match plan.header_length {
            Some(length) => (ALIGNMENT_BYTES - length % ALIGNMENT_BYTES) % ALIGNMENT_BYTES,
            None => 0,
        };
        let capacity = plan.declared.unwrap_or(FIRST_BYTES).min(plan.limit);
        Self {
            buffer: AlignedBuffer::zeroed(start + capacity),
            start,
            end: start,
            limit: plan.limit,
        }
    }

    /// Adds `bytes`. Doubles the buffer where the length was not known, never past the limit.
    ///
    /// # Errors
    /// [`HttpError::TooLarge`] where the body passes the limit.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        let end = self.end + bytes.len();
        let most = self.start + self.limit;
        if end > most {
            return Err(HttpError::TooLarge { limit: self.limit });
        }
        if end > self.buffer.len() {
            self.buffer.resize(end.max(self.buffer.len() * 2).min(most));
        }
        self.buffer[self.end..end].copy_from_slice(bytes);
        self.end = end;
        Ok(())
    }

    /// The body, shared and no longer growing.
    pub(crate) fn freeze(self) -> Bytes {
        let range = self.start..self.end;
        Bytes::from_owner(self.buffer).slice(range)
    }
}

#[cfg(test)]
mod tests;
