use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::PoolError;
use crate::clock::{now, since};
use crate::gate::Gate;

/// How often connections are looked after.
const UPKEEP: Duration = Duration::from_secs(1);

/// A backend as its keeper sees it.
pub(crate) trait Kept: Send + Sync + 'static {
    fn gate(&self) -> &Gate;

    /// How often the backend is asked while nobody else does.
    fn check_interval(&self) -> Duration;

    /// Asks the backend whether it lives, over a connection that is fresh if there is none.
    fn check(&self) -> impl Future<Output = Result<(), PoolError>> + Send;

    /// Closes every connection: none of them is trusted any more.
    fn reset(&self);

    /// Closes what is idle or old, opens what is missing to the minimum.
    fn upkeep(&self) -> impl Future<Output = ()> + Send;
}

/// A task that probes a backend while it is down, so that no request has to, and looks after its connections while it is up.
/// It ends when this is dropped.
///
/// It begins where there is a runtime to begin it on: at once, or with the first operation.
#[derive(Debug)]
pub(crate) struct Keeper<K> {
    kept: Arc<K>,
    task: OnceLock<JoinHandle<()>>,
}

impl<K: Kept> Keeper<K> {
    pub(crate) fn new(kept: Arc<K>) -> Self {
        let keeper = Self { kept, task: OnceLock::new() };
        if Handle::try_current().is_ok() {
            keeper.kept();
        }
        keeper
    }

    /// What it keeps. Must be called within a tokio runtime.
    pub(crate) fn kept(&self) -> &Arc<K> {
        self.task.get_or_init(|| {
            let kept = Arc::clone(&self.kept);
            tokio::spawn(async move { keep(&*kept).await })
        });
        &self.kept
    }

    /// The same, for whoever only looks.
    pub(crate) fn peek(&self) -> &Arc<K> {
        &self.kept
    }
}

impl<K> Drop for Keeper<K> {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

async fn keep(kept: &impl Kept) {
    let gate = kept.gate();
    let mut asked = None;
    loop {
        if let Some(due) = gate.next_probe() {
            kept.reset();
            tokio::time::sleep_until(due.into()).await;
            if gate.begin_probe() {
                gate.checked(&kept.check().await);
                asked = Some(now());
            }
            continue;
        }
        if is_due(gate.last_success().max(asked), kept.check_interval()) {
            gate.checked(&kept.check().await);
            asked = Some(now());
            continue;
        }
        kept.upkeep().await;
        tokio::select! {
            () = gate.opened() => {}
            () = tokio::time::sleep(UPKEEP.min(kept.check_interval())) => {}
        }
    }
}

/// Whether something that last happened then is to happen again.
fn is_due(last: Option<Instant>, interval: Duration) -> bool {
    last.is_none_or(|last| since(last) >= interval)
}
