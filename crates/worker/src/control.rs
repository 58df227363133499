use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// What the two processes say to each other about their connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// From the worker, first of all: what it speaks.
    Hello { version: u64 },
    /// To the worker, first of all: most bytes of private memory (0: no limit), and how much sooner than others the kernel
    /// kills it.
    Limits { memory: u64, oom_score_adj: u64 },
    /// To the worker: a connection of an instance, with three descriptors: its socket, the file it reads and the one it writes.
    Connect { id: u64 },
    /// To the worker: the run of this number on a connection is to end soon.
    Interrupt { id: u64, run: u64 },
    /// To the worker: asks for a sign of life.
    Ping { number: u64 },
    /// From the worker: gives it.
    Pong { number: u64 },
}

/// What [`Message::Hello`] says. To be counted up with every change of messages and frames.
pub(crate) const VERSION: u64 = 1;

/// Descriptors that a message may carry.
pub(crate) const DESCRIPTORS: usize = 3;

const BYTES: usize = 24;

impl Message {
    pub(crate) fn write(self) -> [u8; BYTES] {
        let (kind, first, second) = match self {
            Self::Hello { version } => (1, version, 0),
            Self::Limits { memory, oom_score_adj } => (2, memory, oom_score_adj),
            Self::Connect { id } => (3, id, 0),
            Self::Interrupt { id, run } => (4, id, run),
            Self::Ping { number } => (5, number, 0),
            Self::Pong { number } => (6, number, 0),
        };
        let mut bytes = [0; BYTES];
        for (place, number) in bytes.chunks_exact_mut(8).zip([kind, first, second]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn read(bytes: [u8; BYTES]) -> Option<Self> {
        let (numbers, _) = bytes.as_chunks::<8>();
        let [kind, first, second] = *numbers else {
            return None;
        };
        let (first, second) = (u64::from_le_bytes(first), u64::from_le_bytes(second));
        match (u64::from_le_bytes(kind), second) {
            (1, 0) => Some(Self::Hello { version: first }),
            (2, _) => Some(Self::Limits { memory: first, oom_score_adj: second }),
            (3, 0) => Some(Self::Connect { id: first }),
            (4, _) => Some(Self::Interrupt { id: first, run: second }),
            (5, 0) => Some(Self::Ping { number: first }),
            (6, 0) => Some(Self::Pong { number: first }),
            _ => None,
        }
    }
}

/// The socket between a server and one of its workers.
#[derive(Debug)]
pub(crate) struct Control(UnixStream);

/// What came of waiting for a message.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(Message, Vec<OwnedFd>),
    /// Nothing, for as long as was to be waited.
    Nothing,
    /// The other side is gone.
    End,
}

impl Control {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// How long [`Control::receive`] waits; `None`: for ever.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    /// Sends a message, never waiting: one that the other side has no room for is an error. Any thread may.
    pub(crate) fn send(&self, message: Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = message.write();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            match sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, flags) {
                // A message this short goes whole or not at all.
                Ok(BYTES) => return Ok(()),
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for a message. One thread at a time.
    ///
    /// # Errors
    /// `InvalidData` for what is no message; else as the system says.
    pub(crate) fn receive(&self) -> io::Result<Heard> {
        let mut bytes = [0; BYTES];
        let (mut filled, mut descriptors) = (0, Vec::new());
        while filled < BYTES {
            match self.receive_part(&mut bytes[filled..], &mut descriptors) {
                Ok(0) => return Ok(Heard::End),
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if filled == 0 => return Ok(Heard::Nothing),
                Err(Errno::CONNRESET) => return Ok(Heard::End),
                Err(error) => return Err(error.into()),
            }
        }
        let message = Message::read(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Heard::Message(message, descriptors))
    }

    fn receive_part(&self, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(bytes)];
        let received = recvmsg(&self.0, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        Ok(received.bytes)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn pair() -> (Control, Control) {
        let (a, b) = UnixStream::pair().unwrap();
        (Control::new(a), Control::new(b))
    }

    #[test]
    fn messages_arrive_with_their_descriptors() {
        let (near, far) = pair();
        let messages = [
            Message::Hello { version: VERSION },
            Message::Limits { memory: u64::MAX, oom_score_adj: 1 },
            Message::Connect { id: 9 },
            Message::Interrupt { id: 9, run: 3 },
            Message::Ping { number: 4 },
            Message::Pong { number: 4 },
        ];
        let file = tempfile();
        for message in messages {
            let with: &[BorrowedFd<'_>] = if matches!(message, Message::Connect { .. }) {
                &[file.as_fd(), file.as_fd()]
            } else {
                &[]
            };
            near.send(message, with).unwrap();
        }
        for expected in messages {
            let Heard::Message(message, descriptors) = far.receive().unwrap() else {
                panic!("no message");
            };
            assert_eq!(message, expected);
            assert_eq!(descriptors.len(), if matches!(message, Message::Connect { .. }) { 2 } else { 0 });
        }
        far.set_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(matches!(far.receive().unwrap(), Heard::Nothing));
        drop(near);
        assert!(matches!(far.receive().unwrap(), Heard::End));
    }

    fn tempfile() -> std::fs::File {
        std::fs::File::open("/dev/null").unwrap()
    }

    #[test]
    fn what_is_no_message_is_refused_and_half_a_one_is_an_end() {
        let (near, far) = UnixStream::pair().unwrap();
        let far = Control::new(far);
        (&near).write_all(&[0xff; BYTES]).unwrap();
        assert_eq!(far.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
        (&near).write_all(&[1; BYTES - 1]).unwrap();
        drop(near);
        assert!(matches!(far.receive().unwrap(), Heard::End));
    }

    #[test]
    fn sending_never_waits_for_who_does_not_read() {
        let (near, _far) = pair();
        let sent = (0..1_000_000).find_map(|number| near.send(Message::Ping { number }, &[]).err());
        assert_eq!(sent.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
