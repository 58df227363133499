use bytes::Bytes;
use smallvec::SmallVec;

/// Data up to this length is copied behind what stands before it: a further piece of a body costs more than that.
const COPIED_BYTES: usize = 1024;

/// A body in the making, in pieces: text that is written here, and data that is shared with where it comes from.
#[derive(Debug)]
pub(crate) struct Pieces {
    done: SmallVec<[Bytes; 4]>,
    text: Vec<u8>,
}

impl Pieces {
    /// A body that begins with `text`.
    pub(crate) fn new(text: Vec<u8>) -> Self {
        Self { done: SmallVec::new(), text }
    }

    /// What is written between two pieces of data.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Adds data: without a copy where it is worth a piece of its own.
    pub(crate) fn push(&mut self, data: Bytes) {
        if data.len() <= COPIED_BYTES {
            self.text.extend_from_slice(&data);
            return;
        }
        self.close();
        self.done.push(data);
    }

    /// The body, no piece of which is empty.
    pub(crate) fn finish(mut self) -> SmallVec<[Bytes; 4]> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        if !self.text.is_empty() {
            self.done.push(std::mem::take(&mut self.text).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_data_is_copied_and_large_is_shared() {
        let mut pieces = Pieces::new(b"head".to_vec());
        pieces.push(Bytes::from_static(b"small"));
        let large = Bytes::from(vec![7; COPIED_BYTES + 1]);
        pieces.push(large.clone());
        pieces.push(large.clone());
        pieces.text().push(b'!');
        let done = pieces.finish();
        assert_eq!(done.iter().map(Bytes::len).collect::<Vec<_>>(), [9, 1025, 1025, 1]);
        assert_eq!(done[1].as_ptr(), large.as_ptr());
    }
}
