use std::time::{Duration, Instant};

use adulis_types::{Actor, IdentityKind};

/// Refused attempts that are noted within [`WINDOW`], of clients whose name is known and of others each. Whoever reaches the port
/// can try as often as they like: that must neither fill the disk nor keep what others have changed out of the queue.
pub(super) const MAX_REFUSALS: u32 = 600;
const WINDOW: Duration = Duration::from_secs(60);

/// Attempts that were refused lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Of clients whose name is known.
    named: Window,
    others: Window,
}

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    noted: u32,
    left_out: u64,
}

impl Refusals {
    /// Whether one more attempt is noted.
    pub(super) fn admit(&mut self, actor: Actor<'_>, now: Instant) -> bool {
        let window = match actor {
            Actor::Client(identity) if identity.kind != IdentityKind::Anonymous => &mut self.named,
            _ => &mut self.others,
        };
        window.since.get_or_insert(now);
        let is_noted = window.noted < MAX_REFUSALS;
        if is_noted {
            window.noted += 1;
        } else {
            window.left_out += 1;
        }
        is_noted
    }

    /// How many were left out in windows that are over. Others begin with the next attempt.
    pub(super) fn take_over(&mut self, now: Instant) -> u64 {
        let is_over = |window: &&mut Window| {
            window.since.is_some_and(|since| now.saturating_duration_since(since) >= WINDOW)
        };
        let over = [&mut self.named, &mut self.others].into_iter().filter(is_over);
        over.map(|window| std::mem::take(window).left_out).sum()
    }

    /// How many have been left out and not told of.
    pub(super) fn left_out(&self) -> u64 {
        self.named.left_out + self.others.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_noted_again_after_a_while() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        let tried = |refusals: &mut Refusals, at| refusals.admit(Actor::Unknown, at);
        assert_eq!((0..1000).filter(|_| tried(&mut refusals, begun)).count(), MAX_REFUSALS as usize);
        let soon = begun + WINDOW - Duration::from_millis(1);
        assert_eq!((refusals.take_over(soon), tried(&mut refusals, soon)), (0, false));
        let later = begun + WINDOW;
        assert_eq!(refusals.take_over(later), 1001 - u64::from(MAX_REFUSALS));
        assert_eq!((refusals.take_over(later), tried(&mut refusals, later)), (0, true));
    }
}
