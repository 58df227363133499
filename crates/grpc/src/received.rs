//! What comes from outside, for those who search it for faults. Not for use.

use crate::paced::Frames;

/// Where in gRPC's framing a body is behind each of its pieces: whether a message ended in the piece, and how many bytes have
/// come of one that has not.
#[must_use]
pub fn framed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<(bool, usize)> {
    let mut frames = Frames::default();
    pieces.map(|piece| (frames.advance(piece), frames.received())).collect()
}
