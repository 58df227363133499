use crate::failure::Failure;

use super::head::BodyLength;

/// Longest line of chunk framing or trailer.
const LINE_BYTES: usize = 8 * 1024;

enum State {
    /// This many bytes are still to come.
    Plain(u64),
    /// A chunk's size line comes next.
    ChunkSize,
    /// This many bytes of a chunk are still to come.
    ChunkData(u64),
    /// The line end after a chunk's data comes next.
    ChunkEnd,
    /// After the last chunk: lines until an empty one.
    Trailers,
    UntilClose,
    Complete,
}

/// Finds the end of a body in what the socket brings. Does no I/O itself.
pub(super) struct BodyReader {
    state: State,
    limit: usize,
    kept: Vec<u8>,
    bytes: usize,
}

impl BodyReader {
    pub(super) fn new(length: BodyLength, limit: usize) -> Self {
        let state = match length {
            BodyLength::Known(0) => State::Complete,
            BodyLength::Known(length) => State::Plain(length),
            BodyLength::Chunked => State::ChunkSize,
            BodyLength::UntilClose => State::UntilClose,
        };
        Self { state, limit, kept: Vec::new(), bytes: 0 }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// What was kept, and the length of the whole body.
    pub(super) fn into_kept(self) -> (Vec<u8>, usize) {
        (self.kept, self.bytes)
    }

    /// Takes what belongs to the body off the front of `data`, and says how many bytes that was. What it leaves of an
    /// incomplete body must come again, with more behind it.
    pub(super) fn feed(&mut self, data: &[u8]) -> Result<usize, Failure> {
        let mut used = 0;
        loop {
            let rest = &data[used..];
            let step = match self.state {
                State::Complete => return Ok(used),
                State::UntilClose => self.take(rest, u64::MAX),
                State::Plain(left) => {
                    let taken = self.take(rest, left);
                    self.state = match left - taken as u64 {
                        0 => State::Complete,
                        left => State::Plain(left),
                    };
                    taken
                }
                State::ChunkData(left) => {
                    let taken = self.take(rest, left);
                    self.state = match left - taken as u64 {
                        0 => State::ChunkEnd,
                        left => State::ChunkData(left),
                    };
                    taken
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers => self.take_line(rest)?,
            };
            used += step;
            if step == 0 {
                return Ok(used);
            }
        }
    }

    /// Takes up to `most` bytes of content.
    fn take(&mut self, data: &[u8], most: u64) -> usize {
        let taken = usize::try_from(most).map_or(data.len(), |most| most.min(data.len()));
        let room = self.limit - self.kept.len();
        self.kept.extend_from_slice(&data[..taken.min(room)]);
        self.bytes += taken;
        taken
    }

    /// Takes one line of chunk framing; nothing while it is incomplete.
    ///
    /// Source: RFC 9112, section 7.1.
    fn take_line(&mut self, data: &[u8]) -> Result<usize, Failure> {
        let Some(end) = memchr::memchr(b'\n', data) else {
            if data.len() > LINE_BYTES {
                return Err(Failure::malformed("a chunk's size line has no end"));
            }
            return Ok(0);
        };
        let line = data[..end].trim_ascii();
        self.state = match self.state {
            State::ChunkSize => match chunk_size(line)? {
                0 => State::Trailers,
                size => State::ChunkData(size),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err(Failure::malformed("a chunk is longer than its size")),
            _ if line.is_empty() => State::Complete,
            _ => State::Trailers,
        };
        Ok(end + 1)
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Failure> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    std::str::from_utf8(digits.trim_ascii())
        .ok()
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| Failure::malformed("a chunk's size is no hexadecimal number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `data` in pieces of `step` bytes, as a socket would bring it.
    fn read(length: BodyLength, data: &[u8], step: usize) -> Result<(BodyReader, usize), Failure> {
        let mut reader = BodyReader::new(length, 1000);
        let (mut used, mut seen) = (0, 0);
        while seen < data.len() && !reader.is_complete() {
            seen = (seen + step).min(data.len());
            used += reader.feed(&data[used..seen])?;
        }
        Ok((reader, used))
    }

    #[test]
    fn bodies_end_where_they_should_however_they_arrive() {
        let chunked = b"4\r\nRust\r\n6;x=y\r\n axum!\r\n0\r\nx-trailer: 1\r\n\r\nHTTP/1.1";
        for step in 1..chunked.len() {
            let (reader, used) = read(BodyLength::Chunked, chunked, step).unwrap();
            assert!(reader.is_complete());
            assert_eq!(used, chunked.len() - 8, "step {step}");
            assert_eq!(reader.into_kept(), (b"Rust axum!".to_vec(), 10));
        }
        for step in 1..5 {
            let (reader, used) = read(BodyLength::Known(4), b"abcdef", step).unwrap();
            assert_eq!((reader.is_complete(), used), (true, 4));
        }
    }

    #[test]
    fn broken_chunks_are_told() {
        for text in [
            &b"x\r\n"[..],
            b"\r\n",
            b"-1\r\n",
            b"2\r\nabc\r\n",
            b"11111111111111111\r\n",
        ] {
            assert!(read(BodyLength::Chunked, text, text.len()).is_err());
        }
        assert!(BodyReader::new(BodyLength::Chunked, 0).feed(&[b'1'; 10_000]).is_err());
    }

    #[test]
    fn only_the_limit_is_kept() {
        let mut reader = BodyReader::new(BodyLength::UntilClose, 3);
        assert_eq!(reader.feed(b"abcdef").unwrap(), 6);
        assert!(reader.ends_with_connection());
        assert_eq!(reader.into_kept(), (b"abc".to_vec(), 6));
    }
}
