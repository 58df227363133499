use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

const CLOSED: u64 = 0;
const STOPPED: u64 = u64::MAX;

/// Lets the lanes of one target send, holds them back, or ends them.
///
/// Each opening has a number, its epoch, so that an open loop knows to start its schedule anew.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The epoch, read before every request without a lock.
    state: AtomicU64,
    epochs: AtomicU64,
    changed: watch::Sender<()>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            state: AtomicU64::new(CLOSED),
            epochs: AtomicU64::new(0),
            changed: watch::Sender::new(()),
        }
    }
}

impl Gate {
    fn set(&self, state: u64) {
        // Stopped is for good.
        let before = self.state.fetch_max(state, Ordering::SeqCst);
        if state == CLOSED && before != STOPPED {
            let _raced = self.state.compare_exchange(before, CLOSED, Ordering::SeqCst, Ordering::SeqCst);
        }
        self.changed.send_replace(());
    }

    /// Lets requests through.
    pub(crate) fn open(&self) {
        let epoch = self.epochs.fetch_add(1, Ordering::SeqCst) + 1;
        self.set(epoch);
    }

    /// Holds requests back that have not been sent.
    pub(crate) fn close(&self) {
        self.set(CLOSED);
    }

    /// Ends every loop behind the gate.
    pub(crate) fn stop(&self) {
        self.set(STOPPED);
    }

    /// Waits until the gate is open and gives the epoch; `None` once it was stopped.
    pub(crate) async fn opened(&self) -> Option<u64> {
        loop {
            match self.state.load(Ordering::Relaxed) {
                STOPPED => return None,
                CLOSED => self.left(CLOSED).await,
                epoch => return Some(epoch),
            }
        }
    }

    /// Waits until the gate is stopped.
    pub(crate) async fn stopped(&self) {
        let mut changed = self.changed.subscribe();
        while self.state.load(Ordering::SeqCst) != STOPPED {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the state is another than `epoch`.
    pub(crate) async fn left(&self, epoch: u64) {
        let mut changed = self.changed.subscribe();
        while self.state.load(Ordering::SeqCst) == epoch {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn opens_closes_and_stops_for_good() {
        let gate = Arc::new(Gate::default());
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.opened().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        gate.open();
        assert_eq!(waiting.await.unwrap(), Some(1));
        gate.close();
        gate.left(1).await;
        gate.open();
        assert_eq!(gate.opened().await, Some(2));
        gate.stop();
        gate.open();
        gate.close();
        assert_eq!(gate.opened().await, None);
    }
}
