use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::{ErrorKind, Retry, ServiceError};

/// Bytes of each body that are not counted: small requests cost nothing here, and their number is bounded elsewhere.
const FREE_BYTES: usize = 16 * 1024;

/// When a refused request may be sent again.
const COME_BACK: Duration = Duration::from_secs(1);

/// How many bytes of request bodies a server holds at once, whatever they came over. Clones share it.
///
/// Bytes are counted as they come, so that a length that is only claimed takes nothing from others. Cost: for bodies of up to
/// 16 KiB none beside a clone's, for larger ones an atomic addition for each piece.
#[derive(Debug, Clone)]
pub struct BodyBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit_bytes: usize,
    held_bytes: AtomicUsize,
    refused: AtomicU64,
}

/// What one body has of a [`BodyBudget`], until it is dropped.
#[derive(Debug, Default)]
pub struct HeldBody {
    length: usize,
    held_bytes: usize,
    /// What it is held of, where it is more than what is free.
    of: Option<Arc<Account>>,
}

/// There is no room for more of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the bodies of all requests in progress are as many bytes as may be held at once ({limit_bytes}, server.max_in_flight_bytes): try again later, or with less"
)]
pub struct BudgetSpent {
    limit_bytes: usize,
    /// Whether there would be no room either if nobody else held anything.
    never_fits: bool,
}

impl BodyBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(Account {
            limit_bytes,
            held_bytes: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// The most that is held at once.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.0.limit_bytes
    }

    /// What is held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.0.held_bytes.load(Ordering::Relaxed)
    }

    /// Bodies that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Counts in `bytes` more of a body.
    ///
    /// # Errors
    /// [`BudgetSpent`] where there is no room for them. What the body held before it still holds.
    pub fn take(&self, body: &mut HeldBody, bytes: usize) -> Result<(), BudgetSpent> {
        body.length = body.length.saturating_add(bytes);
        let more = body.length.saturating_sub(FREE_BYTES).saturating_sub(body.held_bytes);
        if more == 0 {
            return Ok(());
        }
        let Account { limit_bytes, held_bytes, refused } = &*self.0;
        let before = held_bytes.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > *limit_bytes {
            held_bytes.fetch_sub(more, Ordering::Relaxed);
            refused.fetch_add(1, Ordering::Relaxed);
            let never_fits = body.length.saturating_sub(FREE_BYTES) > *limit_bytes;
            return Err(BudgetSpent { limit_bytes: *limit_bytes, never_fits });
        }
        body.held_bytes += more;
        body.of.get_or_insert_with(|| Arc::clone(&self.0));
        Ok(())
    }

    /// Counts in what a body takes that is `bytes` long when it is decoded, where that is more than has come of it.
    ///
    /// # Errors
    /// As [`BodyBudget::take`].
    pub fn cover(&self, body: &mut HeldBody, bytes: usize) -> Result<(), BudgetSpent> {
        self.take(body, bytes.saturating_sub(body.length))
    }
}

/// 4 GiB.
impl Default for BodyBudget {
    fn default() -> Self {
        Self::new(usize::try_from(4_u64 << 30).unwrap_or(usize::MAX))
    }
}

/// Budgets are the same that have the same limit.
impl PartialEq for BodyBudget {
    fn eq(&self, other: &Self) -> bool {
        self.limit_bytes() == other.limit_bytes()
    }
}

impl Eq for BodyBudget {}

impl Drop for HeldBody {
    fn drop(&mut self) {
        if let Some(account) = &self.of {
            account.held_bytes.fetch_sub(self.held_bytes, Ordering::Relaxed);
        }
    }
}

impl ServiceError for BudgetSpent {
    fn kind(&self) -> ErrorKind {
        if self.never_fits { ErrorKind::TooLarge } else { ErrorKind::Overloaded }
    }

    fn retry(&self) -> Retry {
        if self.never_fits { Retry::Never } else { Retry::After(COME_BACK) }
    }

    fn client_message(&self) -> Cow<'static, str> {
        self.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_what_is_beyond_their_free_part_and_give_it_back() {
        let budget = BodyBudget::new(1000);
        let (mut first, mut second, mut small) =
            (HeldBody::default(), HeldBody::default(), HeldBody::default());
        for _ in 0..FREE_BYTES {
            budget.take(&mut small, 1).unwrap();
        }
        assert_eq!(budget.held_bytes(), 0);
        budget.take(&mut first, FREE_BYTES + 600).unwrap();
        budget.take(&mut second, FREE_BYTES - 1).unwrap();
        budget.take(&mut second, 1 + 399).unwrap();
        budget.take(&mut first, 1).unwrap();
        assert_eq!((budget.held_bytes(), budget.refused()), (1000, 0));
        let spent = budget.take(&mut small, 1).unwrap_err();
        assert_eq!(spent.retry(), Retry::After(COME_BACK));
        assert!(spent.to_string().contains("(1000, server.max_in_flight_bytes)"), "{spent}");
        assert_eq!((budget.held_bytes(), budget.refused()), (1000, 1));
        drop(first);
        assert_eq!(budget.held_bytes(), 399);
        budget.take(&mut second, 601).unwrap();
        // It holds as much already, and no more fits beside it.
        budget.cover(&mut second, FREE_BYTES + 1000).unwrap();
        assert!(budget.cover(&mut second, FREE_BYTES + 1001).is_err());
        drop((second, small));
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn one_that_is_too_long_takes_nothing_from_others() {
        let budget = BodyBudget::new(1000);
        let mut body = HeldBody::default();
        let spent = budget.take(&mut body, usize::MAX).unwrap_err();
        assert_eq!(spent.retry(), Retry::Never, "it would never fit");
        assert!(budget.take(&mut body, 1).is_err());
        assert_eq!(budget.held_bytes(), 0);
        budget.take(&mut HeldBody::default(), FREE_BYTES + 1000).unwrap();
    }

    /// However many take and give back at the same time, never is more held than may be, and nothing in the end.
    #[test]
    fn threads_never_hold_more_than_all() {
        let budget = BodyBudget::new(3 * FREE_BYTES);
        let holders = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let mut body = HeldBody::default();
                        if budget.take(&mut body, 2 * FREE_BYTES).is_ok() {
                            assert!(holders.fetch_add(1, Ordering::SeqCst) < 3);
                            holders.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(budget.held_bytes(), 0);
    }
}
