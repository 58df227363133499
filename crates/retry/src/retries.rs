use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Backoff, BackoffOptions, RetryBudget};

/// Whether an error is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It would fail again.
    No,
    /// After the next pause.
    Yes,
    /// After the next pause, and not before so much time has passed: whoever was asked has said so.
    After(Duration),
}

/// How one thing is tried until it works.
#[derive(Debug, Clone)]
pub struct Retries {
    backoff: BackoffOptions,
    limit: Option<u32>,
    budget: Option<Arc<RetryBudget>>,
    deadline: Option<Instant>,
}

impl Retries {
    /// As often as it takes, after these pauses.
    #[must_use]
    pub fn new(backoff: BackoffOptions) -> Self {
        Self { backoff, limit: None, budget: None, deadline: None }
    }

    /// At most so many attempts after the first.
    #[must_use]
    pub fn at_most(self, retries: u32) -> Self {
        Self { limit: Some(retries), ..self }
    }

    /// Within a budget that is shared with others.
    #[must_use]
    pub fn within(self, budget: Arc<RetryBudget>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Not after this moment: a pause that would outlast it is not begun. An attempt that is under way then is not ended.
    #[must_use]
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Attempts it until it works, or `again` says that it will not, or there may be no further attempt.
    ///
    /// Dropping the future drops the attempt that is under way.
    ///
    /// # Errors
    /// That of the last attempt.
    pub async fn run<T, E, F>(
        &self,
        mut attempt: impl FnMut() -> F,
        again: impl Fn(&E) -> Again,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        if let Some(budget) = &self.budget {
            budget.deposit();
        }
        let mut backoff = Backoff::new(self.backoff);
        let mut retries = 0;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let least = match again(&error) {
                Again::No => return Err(error),
                Again::Yes => Duration::ZERO,
                Again::After(delay) => delay,
            };
            let pause = backoff.next_delay().max(least);
            if !self.may_go_on(retries, pause) {
                return Err(error);
            }
            retries = retries.saturating_add(1);
            tokio::time::sleep(pause).await;
        }
    }

    fn may_go_on(&self, retries: u32, pause: Duration) -> bool {
        let has_time = self
            .deadline
            .is_none_or(|deadline| Instant::now().checked_add(pause).is_some_and(|next| next < deadline));
        // The budget comes last: what it gives is used.
        self.limit.is_none_or(|limit| retries < limit)
            && has_time
            && self.budget.as_ref().is_none_or(|budget| budget.withdraw())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::BudgetOptions;

    const BACKOFF: BackoffOptions =
        BackoffOptions { min_delay: Duration::from_millis(100), max_delay: Duration::from_secs(1) };

    /// Attempts that were made of something that works from the one of this number on, and how it ended.
    async fn tried(retries: &Retries, works_at: u32, again: Again) -> (u32, Result<u32, &'static str>) {
        let attempts = Cell::new(0);
        let attempt = || {
            attempts.set(attempts.get() + 1);
            std::future::ready(if attempts.get() >= works_at { Ok(attempts.get()) } else { Err("it failed") })
        };
        let outcome = retries.run(attempt, |_| again).await;
        (attempts.get(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_until_it_works() {
        let begun = Instant::now();
        assert_eq!(tried(&Retries::new(BACKOFF), 5, Again::Yes).await, (5, Ok(5)));
        let waited = begun.elapsed();
        // 100, 200, 400 and 800 ms at most, and half of each at least.
        assert!(
            waited >= Duration::from_millis(745) && waited <= Duration::from_millis(1510),
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_fail_again_is_not_tried_again() {
        let begun = Instant::now();
        assert_eq!(tried(&Retries::new(BACKOFF), 5, Again::No).await, (1, Err("it failed")));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_retries_is_a_limit() {
        let retries = Retries::new(BACKOFF).at_most(2);
        assert_eq!(tried(&retries, 3, Again::Yes).await, (3, Ok(3)));
        assert_eq!(tried(&retries, 4, Again::Yes).await, (3, Err("it failed")));
        assert_eq!(tried(&retries.at_most(0), 2, Again::Yes).await, (1, Err("it failed")));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_asked_may_say_when() {
        let begun = Instant::now();
        let after = Again::After(Duration::from_secs(7));
        assert_eq!(tried(&Retries::new(BACKOFF), 2, after).await, (2, Ok(2)));
        assert!(begun.elapsed() >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_does_not_outlast_the_deadline() {
        let begun = Instant::now();
        let retries = Retries::new(BACKOFF).until(begun + Duration::from_secs(5));
        let (attempts, outcome) = tried(&retries, 100, Again::Yes).await;
        assert!(outcome.is_err() && attempts > 4, "{attempts}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let after = Again::After(Duration::MAX);
        assert_eq!(tried(&retries, 2, after).await.0, 1, "no such moment comes");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_share_a_budget_share_its_retries() {
        let options = BudgetOptions { window: Duration::from_secs(10), min_per_second: 1, percent: 0 };
        let retries = Retries::new(BACKOFF).at_most(4).within(Arc::new(RetryBudget::new(options)));
        let mut attempts = 0;
        for _ in 0..50 {
            attempts += tried(&retries.clone(), 100, Again::Yes).await.0;
        }
        assert!((50 + 10..50 + 4 * 50).contains(&attempts), "{attempts}");
        // All at once, so that no time passes in which there would be more.
        let at_once = Retries::new(BackoffOptions { min_delay: Duration::ZERO, max_delay: Duration::ZERO })
            .within(Arc::new(RetryBudget::new(options)));
        assert_eq!(tried(&at_once, 1000, Again::Yes).await.0, 11);
    }
}
