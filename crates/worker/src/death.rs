use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

/// Why a worker was killed by the server, where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    None = 0,
    /// It gave no sign of life.
    Stuck = 1,
    /// A run took longer than its model's limit.
    Overrun = 2,
    /// It said what it must not.
    Violation = 3,
    /// It took too long to start.
    Late = 4,
    /// It is not needed any more.
    Closed = 5,
}

impl Order {
    pub(crate) fn from_number(number: u8) -> Self {
        let all = [
            Self::Stuck,
            Self::Overrun,
            Self::Violation,
            Self::Late,
            Self::Closed,
        ];
        all.into_iter().find(|order| *order as u8 == number).unwrap_or(Self::None)
    }
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    order: Order,
    status: Option<ExitStatus>,
}

impl Death {
    pub(crate) fn new(order: Order, status: Option<ExitStatus>) -> Self {
        Self { order, status }
    }

    fn signal(&self) -> Option<Signal> {
        Signal::from_named_raw(self.status?.signal()?)
    }

    /// Whether it was more than the end of one that nobody needs.
    pub(crate) fn is_fault(&self) -> bool {
        self.order != Order::Closed
    }

    /// Whether it was ended because a run took too long, which is the request's fault.
    pub(crate) fn is_overrun(&self) -> bool {
        self.order == Order::Overrun
    }

    /// As the metrics call it.
    pub(crate) fn cause(&self) -> &'static str {
        match (self.order, self.signal()) {
            (Order::Stuck, _) => "stuck",
            (Order::Overrun, _) => "overrun",
            (Order::Violation, _) => "violation",
            (Order::Late, _) => "late",
            (Order::Closed, _) => "closed",
            (Order::None, Some(Signal::KILL)) => "killed",
            (Order::None, Some(Signal::SEGV | Signal::BUS)) => "segfault",
            (Order::None, Some(Signal::ABORT)) => "aborted",
            (Order::None, Some(_)) => "signal",
            (Order::None, None) => "exited",
        }
    }

    /// All that [`Death::cause`] says, but for what is no fault.
    pub(crate) const CAUSES: [&'static str; 9] = [
        "stuck",
        "overrun",
        "violation",
        "late",
        "killed",
        "segfault",
        "aborted",
        "signal",
        "exited",
    ];
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_us = match self.order {
            Order::Stuck => "it gave no sign of life and was killed",
            Order::Overrun => "it was killed because a run took too long",
            Order::Violation => "it was killed because it broke the protocol",
            Order::Late => "it was killed because it took too long to start (workers.start_timeout)",
            Order::Closed => "it was ended",
            Order::None => "",
        };
        if !by_us.is_empty() {
            return f.write_str(by_us);
        }
        match self.status.map(|status| (status.signal(), status.code())) {
            Some((Some(9), _)) => f.write_str("it was killed (SIGKILL): by hand, or because memory ran out"),
            Some((Some(11), _)) => f.write_str("it crashed (SIGSEGV)"),
            Some((Some(7), _)) => f.write_str("it crashed (SIGBUS)"),
            Some((Some(6), _)) => {
                f.write_str("it aborted (SIGABRT), as when an allocation fails (workers.memory_limit)")
            }
            Some((Some(signal), _)) => write!(f, "it ended by signal {signal}"),
            Some((None, Some(code))) => write!(f, "it exited with code {code}"),
            _ => f.write_str("it ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        let of = |status: i32| Death::new(Order::None, Some(ExitStatus::from_raw(status)));
        let causes = [9, 11, 7, 6, 15, 256].map(|status| of(status).cause());
        assert_eq!(causes, ["killed", "segfault", "segfault", "aborted", "signal", "exited"]);
        assert_eq!(of(256).to_string(), "it exited with code 1");
        assert_eq!(Death::new(Order::Stuck, Some(ExitStatus::from_raw(9))).cause(), "stuck");
        assert!(
            (1..=4).all(|number| {
                Death::CAUSES.contains(&Death::new(Order::from_number(number), None).cause())
            })
        );
        assert!(causes.iter().all(|cause| Death::CAUSES.contains(cause)));
    }
}
