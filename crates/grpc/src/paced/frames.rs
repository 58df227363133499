/// Bytes before each message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// Where in gRPC's framing the bytes of a body are: whether a message has begun and not ended.
///
/// Source: gRPC over HTTP/2, "Length-Prefixed-Message".
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    head_length: usize,
    /// Bytes of the message that have not.
    left: usize,
    /// Bytes of the message that have come, its head included; 0 between messages.
    received: usize,
}

impl Frames {
    /// Takes in what has come; tells whether a message ended in it.
    pub(crate) fn advance(&mut self, mut data: &[u8]) -> bool {
        let mut ended = false;
        while !data.is_empty() {
            let taken = match self.head_length {
                HEAD => self.take_rest(data),
                _ => self.take_head(data),
            };
            self.received += taken;
            data = &data[taken..];
            if self.head_length == HEAD && self.left == 0 {
                *self = Self::default();
                ended = true;
            }
        }
        ended
    }

    /// Bytes that have come of a message that has not ended.
    pub(crate) fn received(&self) -> usize {
        self.received
    }

    /// How much of it belongs to the head.
    fn take_head(&mut self, data: &[u8]) -> usize {
        let taken = data.len().min(HEAD - self.head_length);
        self.head[self.head_length..][..taken].copy_from_slice(&data[..taken]);
        self.head_length += taken;
        if self.head_length == HEAD {
            let [_, length @ ..] = self.head;
            self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        }
        taken
    }

    fn take_rest(&mut self, data: &[u8]) -> usize {
        let taken = data.len().min(self.left);
        self.left -= taken;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_owed_from_its_first_byte_to_its_last() {
        let mut frames = Frames::default();
        assert_eq!((frames.advance(&[]), frames.received()), (false, 0));
        assert_eq!((frames.advance(&[0, 0]), frames.received()), (false, 2));
        assert_eq!((frames.advance(&[0, 0, 3, 7]), frames.received()), (false, 6));
        assert_eq!((frames.advance(&[7, 7]), frames.received()), (true, 0));
        // One that is empty, and the beginning of another one behind it.
        assert_eq!((frames.advance(&[0, 0, 0, 0, 0, 1]), frames.received()), (true, 1));
        // A length that nobody will ever send.
        assert_eq!((frames.advance(&[0xff; 100]), frames.received()), (false, 101));
    }

    /// However the bytes are cut, what is owed at the end of each piece is the same.
    #[test]
    fn pieces_make_no_difference() {
        let lengths: [u8; 8] = [3, 0, 17, 1, 0, 0, 39, 5];
        let mut bytes = Vec::new();
        let mut owed = Vec::new();
        for length in lengths {
            bytes.extend([0, 0, 0, 0, length]);
            bytes.resize(bytes.len() + usize::from(length), 9);
            owed.extend(1..HEAD + usize::from(length));
            owed.push(0);
        }
        for size in 1..=bytes.len() {
            let (mut frames, mut seen) = (Frames::default(), 0);
            for piece in bytes.chunks(size) {
                frames.advance(piece);
                seen += piece.len();
                assert_eq!(frames.received(), owed[seen - 1], "{seen} bytes in pieces of {size}");
            }
        }
    }
}
