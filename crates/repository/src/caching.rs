use std::time::Duration;

/// How a model's answers are kept in the response cache. What is `None` is the server's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caching {
    /// How long they are given; zero: as long as they are worth their room.
    pub ttl: Option<Duration>,
    /// How much longer they are given while they are computed anew.
    pub stale_while_revalidate: Duration,
    /// How long failures are remembered that would be the same each time; zero: not at all.
    pub negative_ttl: Duration,
    /// Whether the rows of a request are looked up one by one; `None`: where the model batches.
    pub row_wise: Option<bool>,
    /// Whether a model is cached whose answers do not seem to be a function of its inputs.
    pub insist: bool,
}
