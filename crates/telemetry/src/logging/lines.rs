use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that may wait; a line for which there is no room is lost.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// Lines on their way to somewhere that may be slow, or stand still: a thread of its own writes them, so that nobody who logs
/// waits. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write.
    came: Condvar,
    /// There is nothing left to write.
    written: Condvar,
    lost: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// Of these, and of those that are being written.
    bytes: usize,
}

impl Lines {
    /// Starts the thread, which lives as long as the process. `lost` counts lines for which there was no room, or which could not
    /// be written.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) fn start(out: impl Write + Send + 'static, lost: Counter) -> io::Result<Self> {
        let (waiting, came, written) = (Mutex::default(), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { waiting, came, written, lost });
        let lines = Self(Arc::clone(&shared));
        thread::Builder::new().name("adulis-log".to_owned()).spawn(move || shared.write(out))?;
        Ok(lines)
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock();
        if waiting.bytes + line.len() > MAX_WAITING_BYTES {
            self.0.lost.inc();
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_vec());
        drop(waiting);
        self.0.came.notify_one();
    }

    /// Waits until all lines are written, but no longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut waiting = self.0.waiting.lock();
        while waiting.bytes > 0 && !self.0.written.wait_until(&mut waiting, until).timed_out() {}
    }
}

impl Shared {
    fn write(&self, mut out: impl Write) {
        let mut waiting = self.waiting.lock();
        loop {
            while waiting.lines.is_empty() {
                self.came.wait(&mut waiting);
            }
            let lines = mem::take(&mut waiting.lines);
            drop(waiting);
            // Each by itself: other processes may write to the same pipe, and what is short is not torn apart there.
            for line in &lines {
                if out.write_all(line).is_err() {
                    self.lost.inc();
                }
            }
            waiting = self.waiting.lock();
            waiting.bytes -= lines.iter().map(Vec::len).sum::<usize>();
            if waiting.bytes == 0 {
                self.written.notify_all();
            }
        }
    }
}

/// Takes whole lines, as the log gives them.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Writes when it is let.
    struct Held {
        let_go: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Held {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.let_go.recv().map_err(io::Error::other)?;
            self.written.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn held() -> (Held, Sender<()>, Receiver<Vec<u8>>) {
        let ((let_one_go, let_go), (written, out)) = (mpsc::channel(), mpsc::channel());
        (Held { let_go, written }, let_one_go, out)
    }

    #[test]
    fn nobody_waits_for_a_writer_that_stands_still_and_what_is_lost_is_counted() {
        let (held, let_one_go, out) = held();
        let lost = Counter::default();
        let lines = Lines::start(held, lost.clone()).unwrap();
        let line = vec![b'x'; MAX_WAITING_BYTES / 4];
        for _ in 0..10 {
            lines.push(&line);
        }
        assert_eq!(lost.get(), 6);
        lines.flush(Duration::from_millis(10));
        assert!(out.try_recv().is_err(), "nothing could be written");
        for _ in 0..4 {
            let_one_go.send(()).unwrap();
        }
        lines.flush(LONG);
        assert_eq!(out.try_iter().count(), 4);
        lines.push(b"again\n");
        let_one_go.send(()).unwrap();
        lines.flush(LONG);
        assert_eq!(out.try_recv().unwrap(), b"again\n");
        assert_eq!(lost.get(), 6);
    }

    #[test]
    fn lines_that_cannot_be_written_are_lost_and_counted() {
        let (held, let_one_go, _out) = held();
        drop(let_one_go);
        let lost = Counter::default();
        let lines = Lines::start(held, lost.clone()).unwrap();
        lines.push(b"one\n");
        lines.push(b"two\n");
        lines.flush(LONG);
        assert_eq!(lost.get(), 2);
    }

    #[test]
    fn lines_of_many_threads_come_whole_and_in_each_ones_order() {
        let (held, let_one_go, out) = held();
        let lines = Lines::start(held, Counter::default()).unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let lines = &lines;
                scope.spawn(move || (0..100).for_each(|at| lines.push(format!("{thread} {at}").as_bytes())));
            }
            (0..400).for_each(|_| let_one_go.send(()).unwrap());
        });
        lines.flush(LONG);
        let mut next = [0; 4];
        for line in out.try_iter() {
            let line = String::from_utf8(line).unwrap();
            let (thread, at) = line.split_once(' ').unwrap();
            let next = &mut next[thread.parse::<usize>().unwrap()];
            assert_eq!(at.parse::<u32>().unwrap(), *next);
            *next += 1;
        }
        assert_eq!(next, [100; 4]);
    }
}
