use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use adulis_tensor::AlignedBuffer;

use crate::frame::{HEADER_BYTES, Header, INLINE_BYTES, Kind, MAX_HEAD_BYTES};
use crate::sheet::Sheet;

/// How often who waits for a first answer is asked whether to go on.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One end of an instance's connection: frames over a socket, large bodies through a file in memory.
#[derive(Debug)]
pub(crate) struct Link {
    stream: BufReader<UnixStream>,
    outgoing: Sheet,
    incoming: Sheet,
    /// The frame being written, sent at once.
    out: Vec<u8>,
    /// The head of the frame read last.
    head: Vec<u8>,
    /// Where its body goes on, and how much of it is left.
    body: Body,
    max_body_bytes: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Body {
    bytes: usize,
    taken: usize,
}

/// What a frame is that was received. Its head and body are asked of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) kind: Kind,
    pub(crate) run: u64,
}

impl Link {
    pub(crate) fn new(
        stream: UnixStream,
        (outgoing, incoming): (Sheet, Sheet),
        max_body_bytes: usize,
    ) -> Self {
        Self {
            // A whole frame that has its body in it is read at once.
            stream: BufReader::with_capacity(INLINE_BYTES + (4 << 10), stream),
            outgoing,
            incoming,
            out: Vec::new(),
            head: Vec::new(),
            body: Body::default(),
            max_body_bytes,
        }
    }

    /// Bodies may be so long from now on.
    pub(crate) fn limit(&mut self, max_body_bytes: usize) {
        self.max_body_bytes = max_body_bytes;
    }

    /// How long a read or a write may wait; `None`: for ever.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(timeout)?;
        self.stream.get_ref().set_write_timeout(timeout)
    }

    /// Waits until there is something to read, or the other side has closed. Sets another timeout.
    ///
    /// # Errors
    /// `TimedOut` when the time is over or `goes_on` says no, which it is asked every [`LOOK_EVERY`]; else as the system says.
    pub(crate) fn wait(&mut self, deadline: Instant, goes_on: &dyn Fn() -> bool) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !goes_on() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.set_timeout(Some(left.min(LOOK_EVERY)))?;
            match self.stream.fill_buf() {
                Ok(_) => return Ok(()),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a frame whose head `write` writes and whose body is `parts`, one after the other.
    ///
    /// Cost: one copy of the body, and one system call if it is short.
    ///
    /// # Errors
    /// One that [`is_too_large`] knows, and nothing is sent; else as the system says, `BrokenPipe` where nobody reads.
    pub(crate) fn send<'a>(
        &mut self,
        (kind, run): (Kind, u64),
        write: impl FnOnce(&mut Vec<u8>),
        parts: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> io::Result<()> {
        let too_large = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{what} too large"));
        self.out.clear();
        self.out.resize(HEADER_BYTES, 0);
        write(&mut self.out);
        let head_bytes = self.out.len() - HEADER_BYTES;
        if head_bytes > MAX_HEAD_BYTES {
            return Err(too_large("names and parameters are"));
        }
        let sum = |sum: usize, part: &[u8]| sum.checked_add(part.len());
        let body_bytes = parts.clone().try_fold(0, sum).filter(|bytes| *bytes <= self.max_body_bytes);
        let body_bytes = body_bytes.ok_or_else(|| {
            too_large(&format!("more than workers.max_transfer_bytes = {} bytes:", self.max_body_bytes))
        })?;
        let header = Header { kind, head_bytes, run, body_bytes };
        self.out[..HEADER_BYTES].copy_from_slice(&header.write());
        if body_bytes > INLINE_BYTES {
            self.outgoing.write(parts)?;
        } else {
            parts.for_each(|part| self.out.extend_from_slice(part));
        }
        self.stream.get_mut().write_all(&self.out)
    }

    /// Waits for a frame and reads its head. `None` where the other side has closed.
    ///
    /// # Errors
    /// `InvalidData` for what is no frame; else as the system says.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Received>> {
        loop {
            match self.stream.fill_buf() {
                Ok([]) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header)?;
        let header = Header::read(header, self.max_body_bytes).ok_or_else(|| invalid("it is no frame"))?;
        let Header { kind, head_bytes, run, body_bytes } = header;
        if body_bytes > INLINE_BYTES && self.incoming.length()? < body_bytes as u64 {
            return Err(invalid("it says more than is there"));
        }
        self.head.resize(head_bytes, 0);
        self.stream.read_exact(&mut self.head)?;
        self.body = Body { bytes: body_bytes, taken: 0 };
        Ok(Some(Received { kind, run }))
    }

    /// The head of the frame received last.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The next bytes of the body of the frame received last, in a buffer aligned for any datatype. One copy.
    pub(crate) fn take(&mut self, bytes: usize) -> io::Result<AlignedBuffer> {
        let Body { bytes: all, taken } = self.body;
        let after = taken.checked_add(bytes).filter(|after| *after <= all);
        self.body.taken = after.ok_or_else(|| invalid("its body is shorter than its head says"))?;
        let mut buffer = AlignedBuffer::zeroed(bytes);
        if all > INLINE_BYTES {
            self.incoming.read(&mut buffer, taken as u64)?;
        } else {
            self.stream.read_exact(&mut buffer)?;
        }
        Ok(buffer)
    }

    /// Leaves the rest of the body where it is.
    pub(crate) fn skip(&mut self) -> io::Result<()> {
        let Body { bytes, taken } = self.body;
        if bytes <= INLINE_BYTES {
            self.take(bytes - taken)?;
        }
        self.body.taken = bytes;
        self.end()
    }

    /// That all of the body has been taken.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let Body { bytes, taken } = self.body;
        if taken != bytes {
            return Err(invalid("its body is longer than its head says"));
        }
        if bytes > INLINE_BYTES { self.incoming.done(bytes as u64) } else { Ok(()) }
    }
}

/// Whether nothing has come yet, and may still come.
fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Whether a frame was not sent because it is larger than may be, or than there is memory for.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, InvalidInput, OutOfMemory, QuotaExceeded, StorageFull};
    matches!(error.kind(), InvalidInput | FileTooLarge | OutOfMemory | QuotaExceeded | StorageFull)
}

pub(crate) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    /// Both ends of a connection.
    fn pair(max_body_bytes: usize) -> (Link, Link) {
        let (a, b) = UnixStream::pair().unwrap();
        let (there, back) = (Sheet::new().unwrap(), Sheet::new().unwrap());
        let other = |sheet: &Sheet| Sheet::from(sheet.as_fd().try_clone_to_owned().unwrap());
        let far = Link::new(b, (other(&back), other(&there)), max_body_bytes);
        (Link::new(a, (there, back), max_body_bytes), far)
    }

    fn send(link: &mut Link, parts: &[&[u8]]) -> io::Result<()> {
        link.send((Kind::Run, 7), |head| head.extend_from_slice(b"head"), parts.iter().copied())
    }

    #[test]
    fn bodies_arrive_whatever_their_size() {
        let (mut near, mut far) = pair(80 << 20);
        for bytes in [
            0,
            1,
            INLINE_BYTES - 1,
            INLINE_BYTES,
            INLINE_BYTES + 1,
            3 << 20,
            70 << 20,
            5,
        ] {
            let part: Vec<u8> = (0..bytes).map(|index| u8::try_from(index % 251).unwrap()).collect();
            let (first, second) = part.split_at(bytes / 3);
            send(&mut near, &[first, second]).unwrap();
            assert_eq!(far.receive().unwrap(), Some(Received { kind: Kind::Run, run: 7 }));
            assert_eq!(far.head(), b"head");
            assert_eq!(far.take(first.len()).unwrap()[..], *first);
            assert_eq!(far.take(second.len()).unwrap()[..], *second);
            far.end().unwrap();
        }
        drop(near);
        assert_eq!(far.receive().unwrap(), None);
    }

    #[test]
    fn a_wait_ends_with_its_time_or_when_it_is_told_to() {
        let (mut near, mut far) = pair(1 << 10);
        let soon = || Instant::now() + Duration::from_millis(50);
        let late = |wait: io::Result<()>| wait.unwrap_err().kind() == io::ErrorKind::TimedOut;
        assert!(late(near.wait(soon(), &|| true)));
        let for_long = Instant::now() + Duration::from_secs(3600);
        let asked = std::cell::Cell::new(0);
        let three_times = || asked.replace(asked.get() + 1) < 3;
        assert!(late(near.wait(for_long, &three_times)));
        assert_eq!(asked.get(), 4);
        send(&mut far, &[b"x"]).unwrap();
        near.wait(for_long, &|| true).unwrap();
        assert_eq!(near.receive().unwrap(), Some(Received { kind: Kind::Run, run: 7 }));
        drop(far);
    }

    #[test]
    fn more_than_may_be_is_neither_sent_nor_taken() {
        let (mut near, mut far) = pair(10);
        assert_eq!(send(&mut near, &[&[0; 11]]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        near.limit(100);
        send(&mut near, &[&[0; 11]]).unwrap();
        assert_eq!(far.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_body_has_the_length_that_its_head_says() {
        let (mut near, mut far) = pair(100);
        send(&mut near, &[&[1; 10]]).unwrap();
        far.receive().unwrap();
        assert!(far.end().is_err());
        assert!(far.take(11).is_err());
        assert!(far.take(usize::MAX).is_err());
        assert_eq!(far.take(10).unwrap()[..], [1; 10]);
        far.end().unwrap();
        for bytes in [20, INLINE_BYTES + 1] {
            let (mut near, mut far) = pair(1 << 20);
            send(&mut near, &[&vec![1; bytes]]).unwrap();
            send(&mut near, &[b"next"]).unwrap();
            far.receive().unwrap();
            far.take(7).unwrap();
            far.skip().unwrap();
            far.receive().unwrap();
            assert_eq!(far.take(4).unwrap()[..], *b"next");
        }
    }

    #[test]
    fn a_sheet_that_holds_less_than_is_said_is_refused() {
        let (near, mut far) = pair(1 << 40);
        let header = Header { kind: Kind::Run, head_bytes: 0, run: 1, body_bytes: 1 << 40 };
        near.stream.get_ref().write_all(&header.write()).unwrap();
        assert_eq!(far.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
