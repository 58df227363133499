//! gzip and deflate (zlib), in and out. Work on more than a few kilobytes leaves the I/O threads, no more of it at a time
//! than there are cores.

use std::io::{self, Read, Write};
use std::sync::Arc;

use adulis_types::{BodyBudget, HeldBody};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderValue, header};
use smallvec::SmallVec;
use tokio::sync::Semaphore;

use crate::ResponseCompression;
use crate::body::{BodyBuffer, BodyPlan};
use crate::error::HttpError;

/// Compressed input up to this length is inflated on the I/O thread: at deflate's best ratio of about 1,000 that is 4 MB,
/// a few milliseconds.
const INLINE_INFLATE_BYTES: usize = 4 * 1024;
/// Responses up to this length are compressed on the I/O thread: some 200 µs.
const INLINE_DEFLATE_BYTES: usize = 16 * 1024;
const STEP_BYTES: usize = 16 * 1024;

/// A content coding that bodies may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            Some(Coding::Gzip)
        } else if name.eq_ignore_ascii_case("deflate") {
            Some(Coding::Deflate)
        } else {
            None
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    pub(crate) fn header_value(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }
}

/// The coding of a request's body.
///
/// # Errors
/// [`HttpError::ContentEncoding`] for any but gzip, deflate and identity, and for several at once.
pub(crate) fn of_request(headers: &HeaderMap) -> Result<Option<Coding>, HttpError> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let name = value.to_str().map_or("", str::trim);
    if values.next().is_none() {
        if value.is_empty() || name.eq_ignore_ascii_case("identity") {
            return Ok(None);
        }
        if let Some(coding) = Coding::named(name) {
            return Ok(Some(coding));
        }
    }
    Err(HttpError::ContentEncoding { given: String::from_utf8_lossy(value.as_bytes()).into_owned() })
}

/// The coding that the response to a request should have, by the request's `Accept-Encoding`.
pub(crate) fn for_response(headers: &HeaderMap, policy: ResponseCompression) -> Option<Coding> {
    let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    match policy {
        ResponseCompression::Never => None,
        ResponseCompression::Explicit => Coding::named(accepted.trim()),
        ResponseCompression::Accepted => best(accepted),
    }
}

fn best(accepted: &str) -> Option<Coding> {
    let weighted = accepted.split(',').filter_map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let weight = match parameters.trim().strip_prefix("q=") {
            Some(weight) => weight.trim().parse().ok()?,
            None => 1.0_f32,
        };
        (weight > 0.0).then_some((Coding::named(name.trim())?, weight))
    });
    // The first of equals: strictly greater replaces.
    weighted
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map(|(coding, _)| coding)
}

/// Where bodies are inflated and deflated.
#[derive(Debug, Clone)]
pub(crate) struct Codec {
    permits: Arc<Semaphore>,
    /// What inflated bytes are counted in.
    budget: BodyBudget,
}

impl Codec {
    pub(crate) fn new(budget: BodyBudget) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { permits: Arc::new(Semaphore::new(cores)), budget }
    }

    /// Decompresses a request body, and counts what it holds then. `plan.declared` is of the compressed body and not looked at.
    ///
    /// # Errors
    /// [`HttpError::Inflated`] as soon as the output passes the limit, [`HttpError::Budget`] as soon as the server has no room
    /// for it, [`HttpError::Compressed`] for damaged input.
    pub(crate) async fn inflate(
        &self,
        coding: Coding,
        bytes: Bytes,
        plan: BodyPlan,
    ) -> Result<(Bytes, HeldBody), HttpError> {
        if bytes.len() <= INLINE_INFLATE_BYTES {
            return inflate(coding, &bytes, (plan, &self.budget));
        }
        let budget = self.budget.clone();
        self.aside(move || inflate(coding, &bytes, (plan, &budget))).await?
    }

    /// Compresses a response body.
    ///
    /// # Errors
    /// [`HttpError::Compression`], which writing to memory does not give.
    pub(crate) async fn deflate(
        &self,
        coding: Coding,
        chunks: SmallVec<[Bytes; 4]>,
    ) -> Result<Bytes, HttpError> {
        if chunks.iter().map(Bytes::len).sum::<usize>() <= INLINE_DEFLATE_BYTES {
            return deflate(coding, &chunks);
        }
        self.aside(move || deflate(coding, &chunks)).await?
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HttpError> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("invariant: the semaphore is never closed");
        let task = tokio::task::spawn_blocking(move || {
            // Held by the work, not by the caller: a client that goes away does not free a core that is still busy.
            let _permit = permit;
            work()
        });
        task.await.map_err(|source| HttpError::Worker { source })
    }
}

pub(crate) fn inflate(
    coding: Coding,
    bytes: &[u8],
    limits: (BodyPlan, &BodyBudget),
) -> Result<(Bytes, HeldBody), HttpError> {
    match coding {
        Coding::Gzip => drain(coding, MultiGzDecoder::new(bytes), limits),
        Coding::Deflate => drain(coding, ZlibDecoder::new(bytes), limits),
    }
}

fn drain(
    coding: Coding,
    mut decoder: impl Read,
    (plan, budget): (BodyPlan, &BodyBudget),
) -> Result<(Bytes, HeldBody), HttpError> {
    let mut held = HeldBody::default();
    let mut body = BodyBuffer::new(BodyPlan { declared: None, ..plan });
    let mut step = [0; STEP_BYTES];
    loop {
        let count = decoder
            .read(&mut step)
            .map_err(|source| HttpError::Compressed { coding: coding.as_str(), source })?;
        if count == 0 {
            return Ok((body.freeze(), held));
        }
        budget.take(&mut held, count)?;
        body.append(&step[..count])
            .map_err(|_| HttpError::Inflated { coding: coding.as_str(), limit: plan.limit })?;
    }
}

pub(crate) fn deflate(coding: Coding, chunks: &[Bytes]) -> Result<Bytes, HttpError> {
    let level = Compression::fast();
    let compressed = match coding {
        Coding::Gzip => write_all(GzEncoder::new(Vec::new(), level), chunks).and_then(GzEncoder::finish),
        Coding::Deflate => {
            write_all(ZlibEncoder::new(Vec::new(), level), chunks).and_then(ZlibEncoder::finish)
        }
    };
    compressed.map(Bytes::from).map_err(|source| HttpError::Compression { source })
}

fn write_all<W: Write>(mut encoder: W, chunks: &[Bytes]) -> io::Result<W> {
    for chunk in chunks {
        encoder.write_all(chunk)?;
    }
    Ok(encoder)
}

#[cfg(test)]
mod tests;
