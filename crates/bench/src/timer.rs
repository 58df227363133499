use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Ends requests that take too long, at almost no cost for those that do not: one timer per connection, which is set
/// anew only when it goes off.
pub(crate) struct Watchdog {
    timeout: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Watchdog {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, sleep: Box::pin(tokio::time::sleep(timeout)) }
    }

    /// Waits until the timeout has passed since `began`.
    pub(crate) async fn expired(&mut self, began: Instant) {
        loop {
            self.sleep.as_mut().await;
            let due = began + self.timeout;
            if Instant::now() >= due {
                return;
            }
            self.sleep.as_mut().reset(due.into());
        }
    }
}

/// Waits with the precision of the kernel's timers, some ten microseconds, where the runtime's own has a millisecond.
#[cfg(target_os = "linux")]
pub(crate) struct FineTimer(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl FineTimer {
    /// Needs a runtime around it.
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let descriptor =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "deprecated for types that may close their descriptor early, which an OwnedFd cannot; the new name is an unsafe function"
        )]
        tokio::io::unix::AsyncFd::with_interest(descriptor, tokio::io::Interest::READABLE).map(Self)
    }

    /// Waits until `due`, or a little later.
    pub(crate) async fn until(&mut self, due: Instant) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Ok(());
            }
            // Setting the timer takes back an earlier expiry; the readiness that tokio still remembers is cleared by
            // the turn of this loop that it causes.
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec {
                    tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: wait.subsec_nanos().into(),
                },
            };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            self.0.readable().await?.clear_ready();
        }
    }
}

/// Elsewhere the runtime's timer has to do.
#[cfg(not(target_os = "linux"))]
pub(crate) struct FineTimer;

#[cfg(not(target_os = "linux"))]
impl FineTimer {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn until(&mut self, due: Instant) -> io::Result<()> {
        tokio::time::sleep_until(due.into()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fine_timer_is_never_early() {
        let mut timer = FineTimer::new().unwrap();
        for microseconds in [0, 50, 300, 1500, 20] {
            let due = Instant::now() + Duration::from_micros(microseconds);
            timer.until(due).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }

    #[tokio::test]
    async fn the_watchdog_counts_from_the_request_it_watches() {
        let mut watchdog = Watchdog::new(Duration::from_millis(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        watchdog.expired(began).await;
        assert!(began.elapsed() >= Duration::from_millis(30));
    }
}
