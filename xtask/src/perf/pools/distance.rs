//! A network between a server and its store, which on one machine is missing: what is sent arrives a while later.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::server::free_address;

/// Pieces under way in one direction of a connection; more wait with their sender.
const UNDER_WAY: usize = 1024;

/// Longest piece.
const PIECE_BYTES: usize = 64 << 10;

/// Connections to its address lead to another one, and all bytes take this long in each direction. Ends when it is dropped.
pub(super) struct Distance {
    pub(super) address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Distance {
    /// To `target`, so long one way.
    ///
    /// # Errors
    /// No address or thread is to be had.
    pub(super) fn to(target: SocketAddr, one_way: Duration) -> Result<Self> {
        let listener = TcpListener::bind(free_address()?)?;
        let address = listener.local_addr()?;
        let ended = Arc::<AtomicBool>::default();
        let told = Arc::clone(&ended);
        thread::Builder::new().name("distance".to_owned()).spawn(move || {
            for near in listener.incoming() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever finds no target sees the connection close.
                if let (Ok(near), Ok(far)) = (near, TcpStream::connect(target)) {
                    drop(join(&near, &far, one_way));
                }
            }
        })?;
        Ok(Self { address, ended })
    }
}

impl Drop for Distance {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the one who accepts.
        drop(TcpStream::connect(self.address));
    }
}

fn join(near: &TcpStream, far: &TcpStream, one_way: Duration) -> Result<()> {
    for (from, to) in [(near, far), (far, near)] {
        to.set_nodelay(true)?;
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        let (sender, receiver) = sync_channel(UNDER_WAY);
        thread::Builder::new().spawn(move || take(from, one_way, &sender))?;
        thread::Builder::new().spawn(move || bring(to, &receiver))?;
    }
    Ok(())
}

/// A piece, and when it arrives.
type Piece = (Instant, Vec<u8>);

fn take(mut from: TcpStream, one_way: Duration, sender: &SyncSender<Piece>) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if sender.send((Instant::now() + one_way, piece[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn bring(mut to: TcpStream, receiver: &Receiver<Piece>) {
    for (due, piece) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    // Of both directions: what has no other side is of no use. It may be closed already.
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_and_takes_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = vec![0; 200_000];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        let one_way = Duration::from_millis(20);
        let distance = Distance::to(target, one_way).unwrap();
        let sent: Vec<u8> = (0..=250).cycle().take(200_000).collect();
        let mut stream = TcpStream::connect(distance.address).unwrap();
        let began = Instant::now();
        stream.write_all(&sent).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received == sent, "{} bytes came back", received.len());
        assert!(began.elapsed() >= 2 * one_way);
        echo.join().unwrap();
    }

    #[test]
    fn a_target_that_is_not_there_closes_the_connection() {
        let distance = Distance::to(free_address().unwrap(), Duration::ZERO).unwrap();
        let mut stream = TcpStream::connect(distance.address).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}
