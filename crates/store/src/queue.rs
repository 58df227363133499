use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adulis_telemetry::InferenceLogMetrics;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::record::Record;

/// The way of records from requests to the writer: bounded in records and in the bytes of tensors that these keep alive.
/// Whoever offers one never waits.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: Sender<Queued>,
    held: Arc<AtomicUsize>,
    max_bytes: usize,
    metrics: InferenceLogMetrics,
}

/// A record that is counted as waiting until it is dropped.
pub(crate) struct Queued {
    pub(crate) record: Record,
    _held: Held,
}

struct Held {
    bytes: usize,
    held: Arc<AtomicUsize>,
    metrics: InferenceLogMetrics,
}

impl Queue {
    /// A queue and its end.
    pub(crate) fn new(
        max_records: usize,
        max_bytes: usize,
        metrics: InferenceLogMetrics,
    ) -> (Self, Receiver<Queued>) {
        let (sender, receiver) = mpsc::channel(max_records.max(1));
        (Self { sender, held: Arc::default(), max_bytes, metrics }, receiver)
    }

    /// Takes a record, or drops and counts it where there is no room.
    pub(crate) fn offer(&self, record: Record) {
        let queued = Held::new(record.bytes(), self).map(|held| Queued { record, _held: held });
        let taken = queued.is_some_and(|queued| self.sender.try_send(queued).is_ok());
        if !taken {
            self.metrics.dropped("queue_full").inc();
        }
    }
}

impl Held {
    /// Room for so many bytes. A record that alone is more than there may be has none, ever.
    fn new(bytes: usize, queue: &Queue) -> Option<Self> {
        let before = queue.held.fetch_add(bytes, Ordering::Relaxed);
        queue.metrics.queued.inc();
        queue.metrics.queued_bytes.inc_by(signed(bytes));
        let held = Self { bytes, held: Arc::clone(&queue.held), metrics: queue.metrics.clone() };
        before.checked_add(bytes).is_some_and(|held| held <= queue.max_bytes).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.metrics.queued.dec();
        self.metrics.queued_bytes.dec_by(signed(self.bytes));
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use adulis_telemetry::{MetricRegistry, MetricsFormat};

    use super::*;
    use crate::record::testing::record;

    #[test]
    fn what_has_no_room_is_dropped_and_counted() {
        let registry = MetricRegistry::default();
        let (queue, mut receiver) = Queue::new(2, 10, InferenceLogMetrics::register(&registry));
        let told = |line: &str| registry.render(MetricsFormat::Text).lines().any(|other| other == line);
        // Too many bytes, even alone; room again when that one is gone.
        queue.offer(record(11));
        queue.offer(record(6));
        queue.offer(record(5));
        queue.offer(record(4));
        // Too many records.
        queue.offer(record(0));
        assert!(told("adulis_inference_log_dropped_total{reason=\"queue_full\"} 3"));
        assert!(told("adulis_inference_log_queue_records 2"));
        assert!(told("adulis_inference_log_queue_bytes 10"));
        drop(receiver.try_recv().unwrap());
        drop(receiver.try_recv().unwrap());
        assert!(told("adulis_inference_log_queue_bytes 0"));
        queue.offer(record(10));
        assert!(receiver.try_recv().is_ok() && receiver.try_recv().is_err());
        // Nobody writes any more.
        drop(receiver);
        queue.offer(record(0));
        assert!(told("adulis_inference_log_dropped_total{reason=\"queue_full\"} 4"));
        assert!(told("adulis_inference_log_queue_records 0"));
    }
}
