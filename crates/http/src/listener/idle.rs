use std::time::Duration;

use super::connections::Order;

/// How long a connection may be of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdleLimits {
    /// With the head of a request half sent.
    pub(super) header_read: Duration,
    /// Without a use; then told to end, once more as long.
    pub(super) keep_alive: Duration,
    /// Bytes of answers that a client takes in a second, at least; 0: any.
    pub(super) answer_rate: u64,
}

impl IdleLimits {
    /// How often to look: no limit is passed by more than about half of the shorter one.
    pub(super) fn period(self) -> Duration {
        let shorter = self.header_read.min(self.keep_alive);
        (shorter / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// How far a client is behind that was so far, counting from then, and has taken so many bytes.
    fn behind(self, behind: Duration, taken: u64) -> Duration {
        match taken.saturating_mul(1000).checked_div(self.answer_rate) {
            Some(earned) => behind.saturating_sub(Duration::from_millis(earned)),
            None if taken > 0 => Duration::ZERO,
            None => behind,
        }
    }
}

/// What a connection is found doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Observation {
    /// An answer is being worked on: by a handler, or by the model that goes on with it.
    pub(super) busy: bool,
    /// The client has to take what there is of answers.
    pub(super) owing: bool,
    /// It is HTTP/2: the client can be told to end whenever that is.
    pub(super) multiplexed: bool,
    /// On HTTP/1.1 bytes have come that are not a whole head yet, on HTTP/2 no whole head ever has.
    pub(super) head_begun: bool,
    /// Changes with every use: bytes of a request or response on HTTP/1.1, requests on HTTP/2.
    pub(super) used: u64,
    /// Bytes that were written so far.
    pub(super) written: u64,
}

impl Observation {
    fn is_unused(&self) -> bool {
        !self.busy && !self.owing
    }
}

/// Why a connection is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Useless {
    /// The head of its request does not end.
    SlowHead,
    /// It is not asked anything.
    Idle,
    /// Its client takes too little of its answers, or does not end when it is told to.
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
    /// How far the client is behind with what it is to take.
    behind: Duration,
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
        let count = |time: Duration, same: fn(&Observation, &Observation) -> bool| match &last {
            Some(before) if same(before, &seen) => time + elapsed,
            _ => Duration::ZERO,
        };
        self.head = count(self.head, |before, seen| before.head_begun && seen.head_begun);
        self.unused = count(self.unused, |before, seen| {
            before.is_unused() && seen.is_unused() && before.used == seen.used
        });
        let taken = last.map_or(0, |before| seen.written.wrapping_sub(before.written));
        let behind = count(self.behind, |before, seen| before.owing && seen.owing);
        self.behind = limits.behind(behind, taken);
        // On HTTP/2 the client is told first, so that it loses no request that is on its way.
        let head_limit = limits.header_read * if seen.multiplexed { 2 } else { 1 };
        if self.head >= head_limit {
            Some(Useless::SlowHead)
        } else if self.behind.max(self.unused) >= limits.keep_alive * 2 {
            Some(Useless::Stuck)
        } else if self.unused >= limits.keep_alive || self.head >= limits.header_read {
            Some(Useless::Idle)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: IdleLimits = IdleLimits {
        header_read: Duration::from_secs(4),
        keep_alive: Duration::from_secs(10),
        answer_rate: 100,
    };
    const UNUSED: Observation = Observation {
        busy: false,
        owing: false,
        multiplexed: false,
        head_begun: false,
        used: 1,
        written: 1,
    };
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
        let busy = Observation { busy: true, ..UNUSED };
        assert!(run(|_| busy, 100).iter().all(|&order| order == Order::GoOn));
    }

    #[test]
    fn an_idle_connection_is_drained_then_closed() {
        for multiplexed in [false, true] {
            let orders = run(|_| Observation { multiplexed, ..UNUSED }, 30);
            assert_eq!(first(&orders, Order::Drain), Some(10));
            assert_eq!(first(&orders, Order::Close), Some(20));
        }
    }

    #[test]
    fn pings_neither_keep_a_connection_in_use_nor_from_its_end() {
        let pinging =
            |index: u32| Observation { multiplexed: true, written: u64::from(index) * 1000, ..UNUSED };
        let orders = run(pinging, 100);
        assert_eq!(first(&orders, Order::Drain), Some(10));
        assert_eq!(first(&orders, Order::Close), Some(20));
    }

    #[test]
    fn a_client_that_takes_its_answer_is_waited_for_and_one_that_is_too_slow_is_not() {
        let taking = |rate: u64, busy| {
            move |index: u32| Observation { owing: true, busy, written: u64::from(index) * rate, ..UNUSED }
        };
        for busy in [false, true] {
            assert_eq!(first(&run(taking(0, busy), 100), Order::Close), Some(20));
            assert_eq!(first(&run(taking(50, busy), 100), Order::Close), Some(40), "half of it is late");
            assert!(run(taking(100, busy), 100).iter().all(|&order| order == Order::GoOn));
        }
        // What was taken quickly earns no time for later.
        let stops =
            |index: u32| Observation { owing: true, written: u64::from(index.min(10)) << 20, ..UNUSED };
        assert_eq!(first(&run(stops, 100), Order::Close), Some(30));
        // A socket is filled again when much of what it holds was taken, so that bytes move seldom.
        let seldom =
            |index: u32| Observation { owing: true, written: u64::from(index / 15) * 1500, ..UNUSED };
        assert!(run(seldom, 100).iter().all(|&order| order == Order::GoOn));
    }

    #[test]
    fn without_a_rate_any_byte_will_do() {
        let any = IdleLimits { answer_rate: 0, ..LIMITS };
        let seconds = Duration::from_secs;
        assert_eq!(any.behind(seconds(7), 0), seconds(7));
        assert_eq!(any.behind(seconds(7), 1), Duration::ZERO);
    }

    #[test]
    fn a_head_sent_byte_by_byte_is_cut_off() {
        let slow = |index: u32| Observation { head_begun: true, used: index.into(), ..UNUSED };
        assert_eq!(first(&run(slow, 30), Order::Close), Some(4));
    }

    #[test]
    fn an_http2_connection_without_a_request_is_told_before_it_is_cut_off() {
        let silent = Observation { head_begun: true, multiplexed: true, ..UNUSED };
        let orders = run(|_| silent, 30);
        assert_eq!(first(&orders, Order::Drain), Some(4));
        assert_eq!(first(&orders, Order::Close), Some(8));
    }

    #[test]
    fn requests_in_between_start_the_count_anew() {
        let now_and_then = |index: u32| Observation {
            busy: index % 4 == 3,
            head_begun: index % 4 != 3,
            used: index.into(),
            ..UNUSED
        };
        assert!(run(now_and_then, 100).iter().all(|&order| order == Order::GoOn));
    }
}
