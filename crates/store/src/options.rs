use std::time::Duration;

/// The pool of connections to the store's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolOptions {
    /// Connections that are kept open.
    pub min_connections: u32,
    /// Connections at most; never 0.
    pub max_connections: u32,
    /// How long is waited for a connection.
    pub acquire_timeout: Duration,
    /// How long a connection may lie idle; `None` for any time.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may get; `None` for any age.
    pub max_lifetime: Option<Duration>,
    /// Whether a connection that lay idle is asked for a sign of life before it is used.
    pub test_before_acquire: bool,
    /// How long the database may take for what it is asked, once there is a connection.
    pub statement_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            min_connections: 0,
            max_connections: 4,
            acquire_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_secs(10 * 60)),
            max_lifetime: Some(Duration::from_secs(30 * 60)),
            test_before_acquire: true,
            statement_timeout: Duration::from_secs(10),
        }
    }
}
