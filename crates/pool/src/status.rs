use std::sync::Arc;
use std::time::SystemTime;

/// What is known of a backend: a detail of readiness, which never makes a server unready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendStatus {
    /// Its name: the pool's, and of several servers which.
    pub backend: Arc<str>,
    /// Whether it answers.
    pub health: Health,
    /// Since when this is so.
    pub since: SystemTime,
    /// The last error, if there was one since the start; it stays when the backend is up again.
    pub last_error: Option<String>,
}

/// Whether a backend answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nobody has asked it yet.
    Unknown,
    /// It does.
    Up,
    /// It doesn't, and is not asked but for probes.
    Down,
}

impl Health {
    /// `unknown`, `up`, `down`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl BackendStatus {
    pub(crate) fn new(backend: Arc<str>) -> Self {
        Self { backend, health: Health::Unknown, since: SystemTime::now(), last_error: None }
    }

    /// Sets the health; the time is that of the change. True if it changed.
    pub(crate) fn set(&mut self, health: Health) -> bool {
        let changes = self.health != health;
        if changes {
            self.health = health;
            self.since = SystemTime::now();
        }
        changes
    }
}
