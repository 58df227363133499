use std::sync::Arc;

use tokio::sync::Semaphore;

/// Up to this many bytes are copied on the I/O thread: some 100 µs, several times what a hand-over costs.
const INLINE_BYTES: usize = 1 << 20;

/// Where copies are made: small ones where they are asked for, large ones on threads that may block, no more of them at a
/// time than there are cores.
#[derive(Debug, Clone)]
pub(crate) struct Aside {
    permits: Arc<Semaphore>,
}

impl Default for Aside {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { permits: Arc::new(Semaphore::new(cores)) }
    }
}

impl Aside {
    /// Does `work`, which copies `bytes` bytes. Dropping the future drops work that waits for its turn; what has begun
    /// ends.
    ///
    /// # Panics
    /// Where `work` does.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if bytes <= INLINE_BYTES {
            return work();
        }
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("invariant: the semaphore is never closed");
        let task = tokio::task::spawn_blocking(move || {
            // Held by the work, not by the caller: a client that goes away does not free a core that is still busy.
            let _permit = permit;
            work()
        });
        match task.await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_copies_leave_the_thread() {
        let (aside, here) = (Aside::default(), std::thread::current().id());
        assert_eq!(aside.run(INLINE_BYTES, || std::thread::current().id()).await, here);
        assert_ne!(aside.run(INLINE_BYTES + 1, || std::thread::current().id()).await, here);
    }
}
