//! The thread that writes traces. Whoever has one never waits for it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use adulis_types::TraceSpan;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

use super::files::{Files, Stream};
use super::format::{self, Clock};

/// Traces that wait to be written.
const MAX_WAITING: usize = 4096;
/// Bytes of tensors in traces that wait. They are the requests' own, which live longer for it.
const MAX_WAITING_BYTES: usize = 256 << 20;

/// What happened to traces.
#[derive(Debug, Clone, Default)]
pub(super) struct Fates {
    pub(super) written: Counter,
    pub(super) dropped: Counter,
}

enum Message {
    Trace(Stream, Vec<TraceSpan>, usize),
    Close(u64),
    /// Nothing comes any more.
    End,
}

/// Hands traces to the thread that writes them. The thread ends when this is dropped, after what waits is written.
pub(super) struct Writer {
    sender: SyncSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    fates: Fates,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Started with the first trace.
    start: OnceLock<bool>,
    receiver: Mutex<Option<(Receiver<Message>, PathBuf)>>,
}

impl Writer {
    pub(super) fn new(base: PathBuf, fates: Fates) -> Self {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        Self {
            sender,
            waiting_bytes: Arc::default(),
            fates,
            thread: Mutex::new(None),
            start: OnceLock::new(),
            receiver: Mutex::new(Some((receiver, base))),
        }
    }

    /// Hands a trace on, or drops and counts it where the thread cannot keep up.
    pub(super) fn write(&self, stream: Stream, spans: Vec<TraceSpan>) {
        let tensors = spans.iter().flat_map(|span| &span.tensors);
        let bytes: usize = tensors.map(|traced| traced.tensor.data().len()).sum();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting.saturating_add(bytes) <= MAX_WAITING_BYTES && self.is_started();
        if !fits || self.sender.try_send(Message::Trace(stream, spans, bytes)).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.fates.dropped.inc();
        }
    }

    /// Says that a stream gets no more. Where the thread is behind, its file stays open until the end.
    pub(super) fn close(&self, stream: u64) {
        let _ = self.sender.try_send(Message::Close(stream));
    }

    /// Starts the thread, if that is not done.
    fn is_started(&self) -> bool {
        *self.start.get_or_init(|| match self.spawn() {
            Ok(thread) => {
                *self.thread.lock() = thread;
                true
            }
            Err(error) => {
                tracing::error!(%error, "the thread that writes traces cannot be started: there are none");
                false
            }
        })
    }

    fn spawn(&self) -> io::Result<Option<JoinHandle<()>>> {
        let Some((receiver, base)) = self.receiver.lock().take() else {
            return Ok(None);
        };
        let (waiting_bytes, fates) = (Arc::clone(&self.waiting_bytes), self.fates.clone());
        let thread = std::thread::Builder::new().name("adulis-traces".to_owned());
        let run =
            move || Thread { files: Files::new(base), waiting_bytes, fates, failing: false }.run(&receiver);
        thread.spawn(run).map(Some)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.get_mut().take() {
            // Waits for room: what is before it is written first.
            let _ = self.sender.send(Message::End);
            if thread.join().is_err() {
                tracing::error!("the thread that writes traces panicked");
            }
        }
    }
}

struct Thread {
    files: Files,
    waiting_bytes: Arc<AtomicUsize>,
    fates: Fates,
    /// Whether the last trace could not be written: told once.
    failing: bool,
}

impl Thread {
    fn run(mut self, receiver: &Receiver<Message>) {
        let (clock, mut text) = (Clock::start(), String::new());
        while let Ok(message) = receiver.recv() {
            match message {
                Message::Trace(stream, spans, bytes) => {
                    text.clear();
                    format::trace(&mut text, &spans, clock);
                    drop(spans);
                    self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    self.write(stream, &text);
                }
                Message::Close(stream) => self.files.close(stream),
                Message::End => return,
            }
        }
    }

    fn write(&mut self, stream: Stream, text: &str) {
        match self.files.add(stream, text) {
            Ok(()) => {
                self.fates.written.inc();
                self.failing = false;
            }
            Err(error) => {
                self.fates.dropped.inc();
                if !self.failing {
                    tracing::error!(%error, "traces cannot be written to their file");
                }
                self.failing = true;
            }
        }
    }
}
