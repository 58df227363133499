use std::io;
use std::time::{Duration, Instant};

use crate::gate::Gate;
use crate::lane::Lane;
use crate::schedule::Arrivals;
use crate::timer::FineTimer;

/// Hands the intended send times of one thread out, one by one, each when it has come.
///
/// A time that no connection was free for is handed out late but never left out: that is what keeps the latencies free
/// of coordinated omission.
pub(crate) struct Pacer {
    arrivals: Arrivals,
    timer: FineTimer,
    epoch: u64,
    /// When the gate was opened.
    opened: Instant,
    /// The schedule's offset of the last time before the gate was opened.
    base: Duration,
    /// The schedule's offset of the last time drawn.
    offset: Duration,
    due: Option<Instant>,
}

impl Pacer {
    /// Needs a runtime around it.
    pub(crate) fn new(arrivals: Arrivals) -> io::Result<Self> {
        Ok(Self {
            arrivals,
            timer: FineTimer::new()?,
            epoch: 0,
            opened: Instant::now(),
            base: Duration::ZERO,
            offset: Duration::ZERO,
            due: None,
        })
    }

    /// Waits for the next intended send time and returns it; `None` once the gate is stopped.
    ///
    /// Each time the gate opens the schedule goes on from then: what it missed while closed is not made up.
    pub(crate) async fn next(&mut self, gate: &Gate, lane: &Lane) -> Option<Instant> {
        loop {
            let epoch = gate.opened().await?;
            let due = self.due(epoch, lane)?;
            if due <= Instant::now() {
                self.due = None;
                // Drawn at once, so that whoever asks how far the lane is behind hears of the next one.
                self.due(epoch, lane);
                return Some(due);
            }
            tokio::select! {
                biased;
                result = self.timer.until(due) => if result.is_err() {
                    tokio::time::sleep_until(due.into()).await;
                },
                () = gate.left(epoch) => lane.set_next_due(None),
            }
        }
    }

    fn due(&mut self, epoch: u64, lane: &Lane) -> Option<Instant> {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.opened = Instant::now();
            self.base = self.offset;
            self.due = None;
        }
        if self.due.is_none() {
            self.offset = self.arrivals.next()?;
            self.due = self.opened.checked_add(self.offset.saturating_sub(self.base));
        }
        lane.set_next_due(self.due);
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Distribution;

    #[tokio::test]
    async fn late_times_are_handed_out_and_a_closed_gate_makes_up_for_nothing() {
        let (gate, lane) = (Gate::default(), Lane::new());
        let arrivals = Arrivals::new(1000.0, Distribution::Constant, 0, (0, 1));
        let mut pacer = Pacer::new(arrivals).unwrap();
        gate.open();
        let first = pacer.next(&gate, &lane).await.unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let behind = lane.behind(Instant::now());
        assert!(behind >= Duration::from_millis(49), "nobody asked for 50 ms: {behind:?}");
        for index in 1_u32..=50 {
            let due = pacer.next(&gate, &lane).await.unwrap();
            assert_eq!((due - first).as_micros(), u128::from(index) * 1000);
        }
        gate.close();
        std::thread::sleep(Duration::from_millis(50));
        gate.open();
        let opened = Instant::now();
        let after = pacer.next(&gate, &lane).await.unwrap();
        assert!(after >= opened);
        gate.stop();
        assert_eq!(pacer.next(&gate, &lane).await, None);
    }
}
