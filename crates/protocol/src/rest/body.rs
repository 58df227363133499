use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

/// A body in pieces: the JSON, then the bytes of each binary tensor, shared with the tensor itself.
#[derive(Debug, Clone)]
pub struct RestBody {
    /// Length of the JSON, where binary tensors follow it: the value of
    /// [`crate::rest::INFERENCE_HEADER_CONTENT_LENGTH`]. `None` where the body is JSON only.
    pub header_length: Option<usize>,
    /// The pieces, none of them empty.
    pub chunks: SmallVec<[Bytes; 4]>,
}

impl RestBody {
    pub(super) fn new(json: Vec<u8>, tensors: impl Iterator<Item = Bytes>) -> Self {
        let header_length = json.len();
        let mut chunks = smallvec![Bytes::from(json)];
        chunks.extend(tensors.filter(|tensor| !tensor.is_empty()));
        Self { header_length: (chunks.len() > 1).then_some(header_length), chunks }
    }

    /// Length of the whole body in bytes.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// The body in one piece: without a copy for JSON only, with one otherwise.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.chunks.into_vec()) {
            Ok([json]) => json,
            Err(chunks) => chunks.concat().into(),
        }
    }
}
