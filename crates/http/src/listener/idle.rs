use std::time::Duration;

use super::connections::Order;

/// How long a connection may be of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdleLimits {
    /// With the head of a request half sent.
    pub(super) header_read: Duration,
    /// Without a byte either way.
    pub(super) keep_alive: Duration,
}

impl IdleLimits {
    /// How often to look: no limit is passed by more than about half of the shorter one.
    pub(super) fn period(self) -> Duration {
        let shorter = self.header_read.min(self.keep_alive);
        (shorter / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}

/// What a connection is found doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Observation {
    /// A handler is at work.
    pub(super) busy: bool,
    /// Bytes have come that are not a whole head yet.
    pub(super) head_begun: bool,
    /// Changes with every use: bytes of a request or response on HTTP/1.1, requests on HTTP/2.
    pub(super) used: u32,
    /// Changes with every read and write that moved bytes.
    pub(super) moved: u32,
}

/// Why a connection is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Useless {
    /// The head of its request does not end.
    SlowHead,
    /// It is not asked anything.
    Idle,
    /// It was told to end, and no byte moves.
    Stuck,
}

impl Useless {
    pub(super) fn order(self) -> Order {
        match self {
            Useless::SlowHead | Useless::Stuck => Order::Close,
            // Gracefully: a request that is on its way just now is still answered.
            Useless::Idle => Order::Drain,
        }
    }
}

/// Decides when a connection has been of no use for too long, from looks at it at intervals. No clock inside.
#[derive(Debug, Default)]
pub(super) struct IdleWatch {
    last: Option<Observation>,
    head: Duration,
    unused: Duration,
    still: Duration,
}

impl IdleWatch {
    /// Takes a look that comes `elapsed` after the one before. Time counts only between two looks that found the same, so
    /// that limits are passed late and never early.
    pub(super) fn look(
        &mut self,
        seen: Observation,
        elapsed: Duration,
        limits: IdleLimits,
    ) -> Option<Useless> {
        let last = self.last.replace(seen);
        let before = last.filter(|before| !seen.busy && !before.busy);
        let count = |time: Duration, same: fn(&Observation, &Observation) -> bool| match &before {
            Some(before) if same(before, &seen) => time + elapsed,
            _ => Duration::ZERO,
        };
        self.head = count(self.head, |before, seen| before.head_begun && seen.head_begun);
        self.unused = count(self.unused, |before, seen| before.used == seen.used);
        self.still = count(self.still, |before, seen| before.moved == seen.moved);
        if self.head >= limits.header_read {
            Some(Useless::SlowHead)
        } else if self.still >= limits.keep_alive * 2 {
            Some(Useless::Stuck)
        } else if self.unused >= limits.keep_alive {
            Some(Useless::Idle)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: IdleLimits =
        IdleLimits { header_read: Duration::from_secs(4), keep_alive: Duration::from_secs(10) };
    const STEP: Duration = Duration::from_secs(1);

    fn run(mut seen: impl FnMut(u32) -> Observation, looks: u32) -> Vec<Order> {
        let mut watch = IdleWatch::default();
        let look = |index| watch.look(seen(index), STEP, LIMITS).map_or(Order::GoOn, Useless::order);
        (0..looks).map(look).collect()
    }

    fn first(orders: &[Order], order: Order) -> Option<usize> {
        orders.iter().position(|&found| found == order)
    }

    #[test]
    fn a_busy_connection_is_left_alone() {
        let busy = Observation { busy: true, head_begun: false, used: 1, moved: 1 };
        assert!(run(|_| busy, 100).iter().all(|&order| order == Order::GoOn));
    }

    #[test]
    fn an_idle_connection_is_drained_then_closed() {
        let idle = Observation { busy: false, head_begun: false, used: 1, moved: 1 };
        let orders = run(|_| idle, 30);
        assert_eq!(first(&orders, Order::Drain), Some(10));
        assert_eq!(first(&orders, Order::Close), Some(20));
    }

    #[test]
    fn pings_do_not_keep_a_connection_in_use() {
        let pinging = |index| Observation { busy: false, head_begun: false, used: 1, moved: index };
        let orders = run(pinging, 100);
        assert_eq!(first(&orders, Order::Drain), Some(10));
        assert_eq!(first(&orders, Order::Close), None, "a response may still be on its way");
    }

    #[test]
    fn a_head_sent_byte_by_byte_is_cut_off() {
        let slow = |index| Observation { busy: false, head_begun: true, used: index, moved: index };
        assert_eq!(first(&run(slow, 30), Order::Close), Some(4));
    }

    #[test]
    fn requests_in_between_start_the_count_anew() {
        let now_and_then = |index: u32| Observation {
            busy: index % 4 == 3,
            head_begun: index % 4 != 3,
            used: index,
            moved: index,
        };
        assert!(run(now_and_then, 100).iter().all(|&order| order == Order::GoOn));
    }
}
