use std::collections::BTreeMap;
use std::time::Duration;

/// How one model's requests are queued and merged.
///
/// Source: the dynamic batching section of Triton's model configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Most rows in one batch. 0 or 1: requests are never merged, and each is dispatched alone, whatever its rows.
    pub max_batch_size: usize,
    /// Sizes, in rows, that are worth dispatching at once. Those of 0 or over `max_batch_size` are ignored.
    pub preferred_batch_sizes: Vec<usize>,
    /// How long a request may wait for others while an instance is free. More than an hour counts as an hour.
    pub max_queue_delay: Duration,
    /// Number of priority levels, 1 being the highest; 0 means one level.
    pub priority_levels: u32,
    /// The level of requests that name none, from 1. 0 means the middle one, rounded up; above the number of levels,
    /// the lowest.
    pub default_priority: u32,
    /// The policy of levels that have none of their own.
    pub default_queue_policy: QueuePolicy,
    /// The policies of single levels.
    pub priority_queue_policy: BTreeMap<u32, QueuePolicy>,
    /// Most rows waiting, over all levels; 0 means no bound.
    pub max_queued_rows: usize,
}

impl Default for BatchPolicy {
    /// No merging, one level, and room for 65,536 rows.
    fn default() -> Self {
        Self {
            max_batch_size: 0,
            preferred_batch_sizes: Vec::new(),
            max_queue_delay: Duration::ZERO,
            priority_levels: 0,
            default_priority: 0,
            default_queue_policy: QueuePolicy::default(),
            priority_queue_policy: BTreeMap::new(),
            max_queued_rows: 65_536,
        }
    }
}

impl BatchPolicy {
    /// Whether requests may be merged at all.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.max_batch_size > 1
    }

    /// The level that a request's `priority` stands for: 0 is the default level, and what is above the number of
    /// levels is the lowest, as in Triton.
    #[must_use]
    pub fn level(&self, priority: u64) -> u32 {
        let levels = self.priority_levels.max(1);
        match (priority, self.default_priority) {
            (0, 0) => levels.div_ceil(2),
            (0, default) => default.min(levels),
            (named, _) => u32::try_from(named).unwrap_or(levels).min(levels),
        }
    }

    /// The priority of a request that may have `highest` at most, whether it names one or none; 0: any.
    #[must_use]
    pub fn capped(&self, priority: u64, highest: u32) -> u64 {
        if highest == 0 { priority } else { self.level(priority).max(highest).into() }
    }

    /// The queue policy of a level.
    #[must_use]
    pub fn queue_policy(&self, level: u32) -> &QueuePolicy {
        self.priority_queue_policy.get(&level).unwrap_or(&self.default_queue_policy)
    }
}

/// What happens to a request that has waited its timeout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It expires.
    #[default]
    Reject,
    /// It goes behind everything that has not timed out, and is answered when there is room.
    Delay,
}

/// Limits of one priority level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueuePolicy {
    /// What happens on a timeout.
    pub timeout_action: TimeoutAction,
    /// How long a request may wait; `None` or zero means no timeout.
    pub default_timeout: Option<Duration>,
    /// Whether a request's own timeout counts. It can shorten `default_timeout`, not lengthen it.
    pub allow_timeout_override: bool,
    /// Most requests waiting at this level, delayed ones included; 0 means no bound.
    pub max_queue_size: usize,
}

impl QueuePolicy {
    /// The timeout of a request that brings `own`; zero counts as none.
    ///
    /// Without a default, the request's own counts where it is allowed to; Triton ignores it then.
    #[must_use]
    pub fn timeout(&self, own: Option<Duration>) -> Option<Duration> {
        let set = |timeout: &Duration| !timeout.is_zero();
        let default = self.default_timeout.filter(set);
        let own = own.filter(set).filter(|_| self.allow_timeout_override);
        match (default, own) {
            (Some(default), Some(own)) => Some(default.min(own)),
            (default, own) => default.or(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_triton() {
        let levels = |priority_levels, default_priority| BatchPolicy {
            priority_levels,
            default_priority,
            ..BatchPolicy::default()
        };
        assert_eq!(levels(0, 0).level(0), 1);
        assert_eq!(levels(0, 0).level(7), 1);
        assert_eq!(levels(5, 0).level(0), 3);
        assert_eq!(levels(4, 0).level(0), 2);
        assert_eq!(levels(5, 2).level(0), 2);
        assert_eq!(levels(5, 9).level(0), 5);
        assert_eq!(levels(5, 2).level(4), 4);
        assert_eq!(levels(5, 2).level(6), 5);
        assert_eq!(levels(5, 2).level(u64::MAX), 5);
    }

    #[test]
    fn a_capped_priority_is_never_above_its_cap() {
        for (priority_levels, default_priority) in [(0, 0), (2, 0), (3, 0), (3, 1), (3, 3)] {
            let policy = BatchPolicy { priority_levels, default_priority, ..BatchPolicy::default() };
            for priority in 0..5 {
                let level = |highest| policy.level(policy.capped(priority, highest));
                assert_eq!(level(0), policy.level(priority), "without a cap");
                for highest in 1..5 {
                    let lowest = priority_levels.max(1);
                    let expected = policy.level(priority).max(highest).min(lowest);
                    assert_eq!(level(highest), expected, "{priority} of {policy:?}, {highest} at most");
                }
            }
        }
    }

    #[test]
    fn own_timeouts_shorten_only_where_allowed() {
        let ms = Duration::from_millis;
        let policy = |default_timeout, allow_timeout_override| QueuePolicy {
            default_timeout,
            allow_timeout_override,
            ..QueuePolicy::default()
        };
        assert_eq!(policy(Some(ms(5)), false).timeout(Some(ms(1))), Some(ms(5)));
        assert_eq!(policy(Some(ms(5)), true).timeout(Some(ms(1))), Some(ms(1)));
        assert_eq!(policy(Some(ms(5)), true).timeout(Some(ms(9))), Some(ms(5)));
        assert_eq!(policy(Some(ms(5)), true).timeout(Some(ms(0))), Some(ms(5)));
        assert_eq!(policy(None, true).timeout(Some(ms(9))), Some(ms(9)));
        assert_eq!(policy(Some(ms(0)), true).timeout(None), None);
        assert_eq!(policy(None, false).timeout(Some(ms(9))), None);
    }
}
