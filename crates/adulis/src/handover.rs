//! What `adulis up` and its servers say to each other, over the server's standard input: the sockets, that it is to serve, that
//! it is ready, that one of them is gone.
//!
//! Sockets are passed over a socket and not by their numbers: that needs no code between fork and exec and no `unsafe`.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::sockets::Sockets;

/// Most sockets.
const MAX_SOCKETS: usize = 16;
/// Most bytes of their names, with a line break after each.
const MAX_NAME_BYTES: usize = 1024;
/// What a server that is ready says.
const READY: u8 = b'R';
/// What a server is told that is to accept connections before it is ready, because nobody else does.
const SERVE: u8 = b'S';

/// Passes sockets to a server at the other end.
///
/// # Errors
/// As the system says; `InvalidInput` for more than can be passed.
pub(crate) fn give(to: &UnixStream, sockets: &[(&str, &TcpListener)]) -> io::Result<()> {
    let names: String = sockets.iter().map(|(name, _)| format!("{name}\n")).collect();
    let length = u16::try_from(names.len()).ok().filter(|length| usize::from(*length) <= MAX_NAME_BYTES);
    let length = length.filter(|_| sockets.len() <= MAX_SOCKETS).ok_or(io::ErrorKind::InvalidInput)?;
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let head = length.to_le_bytes();
    let sent = sendmsg(to, &[IoSlice::new(&head)], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent < head.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut to = to;
    to.write_all(names.as_bytes())
}

/// Tells a server at the other end to accept connections now, ready or not.
///
/// # Errors
/// As the system says.
pub(crate) fn tell_to_serve(mut to: &UnixStream) -> io::Result<()> {
    to.write_all(&[SERVE])
}

/// What a supervisor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// The server is to accept connections now, ready or not.
    Serve,
    /// Nothing more: it is gone.
    Gone,
}

/// The supervisor of this server, at its standard input.
#[derive(Debug)]
pub struct Supervisor(UnixStream);

impl Supervisor {
    /// Takes the sockets that it passes.
    ///
    /// # Errors
    /// There is none.
    pub fn meet() -> io::Result<(Self, Sockets)> {
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let sockets = take(&socket)?;
        Ok((Self(socket), Sockets::named(sockets)))
    }

    /// Tells it that the server is ready.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn tell_ready(&self) -> io::Result<()> {
        let mut socket = &self.0;
        socket.write_all(&[READY])
    }

    /// Waits for its next word.
    pub(crate) fn hear(&self) -> Word {
        let mut socket = &self.0;
        let mut said = [0];
        match socket.read_exact(&mut said) {
            Ok(()) if said == [SERVE] => Word::Serve,
            _ => Word::Gone,
        }
    }
}

fn take(from: &UnixStream) -> io::Result<Vec<(String, TcpListener)>> {
    let mut head = [0; 2];
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut head)];
        let received = recvmsg(from, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes < 2 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
    }
    let mut names = vec![0; usize::from(u16::from_le_bytes(head)).min(MAX_NAME_BYTES)];
    let mut from = from;
    from.read_exact(&mut names)?;
    let names = String::from_utf8(names).map_err(|_| io::ErrorKind::InvalidData)?;
    let names: Vec<&str> = names.lines().collect();
    if names.len() != descriptors.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let named = names.into_iter().map(str::to_owned).zip(descriptors.into_iter().map(TcpListener::from));
    Ok(named.collect())
}

/// Waits until a server says that it is ready; `false` where it is gone before.
pub(crate) async fn is_ready(from: &mut tokio::net::UnixStream) -> bool {
    use tokio::io::AsyncReadExt;
    let mut said = [0];
    matches!(from.read(&mut said).await, Ok(1)) && said == [READY]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_arrive_under_their_names() {
        let (near, far) = UnixStream::pair().unwrap();
        let [first, second] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let given = [("http+grpc", &first), ("metrics", &second)];
        give(&near, &given).unwrap();
        let taken = take(&far).unwrap();
        let taken: Vec<_> =
            taken.iter().map(|(name, socket)| (name.as_str(), socket.local_addr().unwrap())).collect();
        assert_eq!(taken, given.map(|(name, socket)| (name, socket.local_addr().unwrap())));
        give(&near, &[]).unwrap();
        assert_eq!(take(&far).unwrap().len(), 0);
        drop(near);
        assert!(take(&far).is_err());
    }

    #[tokio::test]
    async fn readiness_is_told_from_an_end() {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut near = tokio::net::UnixStream::from_std(near).unwrap();
        let supervisor = Supervisor(far);
        supervisor.tell_ready().unwrap();
        assert!(is_ready(&mut near).await);
        drop(supervisor);
        assert!(!is_ready(&mut near).await);
    }

    #[test]
    fn a_server_hears_that_it_is_to_serve_and_that_nobody_is_there() {
        let (near, far) = UnixStream::pair().unwrap();
        tell_to_serve(&near).unwrap();
        drop(near);
        let supervisor = Supervisor(far);
        assert_eq!([supervisor.hear(), supervisor.hear()], [Word::Serve, Word::Gone]);
    }
}
