//! What comes from outside, for those who search it for faults. Not for use.

use adulis_types::BodyBudget;
use bytes::Bytes;

use crate::body::BodyPlan;
use crate::coding::{self, Coding};

/// What a body is decompressed, of gzip or else deflate. `None` where it is no such thing, or longer than the limit then.
#[must_use]
pub fn inflated(is_gzip: bool, body: &[u8], limit: usize) -> Option<Bytes> {
    let plan = BodyPlan { declared: None, header_length: None, limit };
    let inflated = coding::inflate(coding_of(is_gzip), body, (plan, &BodyBudget::default()));
    inflated.ok().map(|(bytes, _)| bytes)
}

/// The same compressed.
#[must_use]
pub fn deflated(is_gzip: bool, body: Bytes) -> Option<Bytes> {
    coding::deflate(coding_of(is_gzip), &[body]).ok()
}

fn coding_of(is_gzip: bool) -> Coding {
    if is_gzip { Coding::Gzip } else { Coding::Deflate }
}
