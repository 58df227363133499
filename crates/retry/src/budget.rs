use std::fmt;
use std::time::Duration;

use tower::retry::budget::{Budget, TpsBudget};

/// How many retries there may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetOptions {
    /// How long what was done counts, from 1 to 60 seconds.
    pub window: Duration,
    /// Retries in each second that there may be in any case.
    pub min_per_second: u32,
    /// Retries for what was done within the window, in percent.
    pub percent: u32,
}

impl Default for BudgetOptions {
    /// As linkerd has it.
    fn default() -> Self {
        Self { window: Duration::from_secs(10), min_per_second: 10, percent: 20 }
    }
}

/// Bounds the retries of all that ask the same thing, so that one that fails for most is not asked many times as often for it.
///
/// Each thing that is done deposits, each retry withdraws. Costs a few atomic additions and an uncontended lock.
pub struct RetryBudget(TpsBudget);

impl RetryBudget {
    /// A budget; what is out of range is brought into it.
    #[must_use]
    pub fn new(options: BudgetOptions) -> Self {
        let window = options.window.clamp(Duration::from_secs(1), Duration::from_secs(60));
        // The library takes no more than a thousandfold.
        let percent = u16::try_from(options.percent).unwrap_or(u16::MAX);
        let share = (f32::from(percent) / 100.0).min(1000.0);
        Self(TpsBudget::new(window, options.min_per_second.min(i32::MAX.unsigned_abs() - 1), share))
    }

    /// Something is done for the first time.
    pub fn deposit(&self) {
        self.0.deposit();
    }

    /// Whether it may be done once more.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(BudgetOptions::default())
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withdrawn(budget: &RetryBudget) -> usize {
        (0..10_000).take_while(|_| budget.withdraw()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_share_of_what_is_done_and_a_few_more() {
        let budget = RetryBudget::default();
        assert_eq!(withdrawn(&budget), 100, "10 for each of 10 seconds");
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(withdrawn(&budget), 200, "a fifth of what is done");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(withdrawn(&budget), 100, "what was done is forgotten, and so is what was withdrawn");
    }

    #[tokio::test(start_paused = true)]
    async fn options_out_of_range_do_no_harm() {
        let options = BudgetOptions { window: Duration::ZERO, min_per_second: 0, percent: 0 };
        assert_eq!(withdrawn(&RetryBudget::new(options)), 0);
        let options = BudgetOptions { window: Duration::MAX, min_per_second: 1, percent: u32::MAX };
        assert!(RetryBudget::new(options).withdraw());
    }
}
