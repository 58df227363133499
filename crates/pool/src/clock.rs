use std::time::{Duration, Instant};

/// Now, as the runtime's timers see it: under a test's stopped clock it stands still too.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long ago that was.
pub(crate) fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}
