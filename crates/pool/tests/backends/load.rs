use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adulis_pool::PoolError;
use adulis_testing::until;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::JoinSet;

/// What has happened to requests so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) hits: AtomicU64,
    /// Answered, with nothing.
    pub(crate) misses: AtomicU64,
    /// Not asked, because the breaker was open.
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
    slowest: Mutex<Duration>,
}

impl Tally {
    fn took(&self, time: Duration) {
        let mut slowest = self.slowest.lock();
        *slowest = time.max(*slowest);
    }
}

/// Requests that come one after the other, several at a time, until this is dropped.
pub(crate) struct Load {
    pub(crate) tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Asks with eight callers.
    pub(crate) fn start<F>(ask: impl Fn() -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = Result<Vec<Option<Bytes>>, PoolError>> + Send,
    {
        let (tally, stop) = (Arc::<Tally>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let (tally, stop, ask) = (Arc::clone(&tally), Arc::clone(&stop), ask.clone());
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let answer = ask().await;
                    let took = begun.elapsed();
                    tally.took(took);
                    let count = match &answer {
                        Ok(values) if values.iter().any(Option::is_some) => &tally.hits,
                        Ok(_) => &tally.misses,
                        Err(PoolError::Open { .. }) => &tally.refused,
                        Err(_) => &tally.failed,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        Self { tally, stop, tasks }
    }

    /// Waits until so many more have hit.
    pub(crate) async fn hits(&self, more: u64) {
        let before = self.tally.hits.load(Ordering::Relaxed);
        let enough = async || self.tally.hits.load(Ordering::Relaxed) >= before + more;
        until("requests hit", enough).await;
    }

    /// Waits until so many more were refused.
    pub(crate) async fn refused(&self, more: u64) {
        let before = self.tally.refused.load(Ordering::Relaxed);
        let enough = async || self.tally.refused.load(Ordering::Relaxed) >= before + more;
        until("requests are refused", enough).await;
    }

    /// The longest that any took so far, all callers' requests ended.
    pub(crate) async fn end(mut self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        *self.tally.slowest.lock()
    }
}
