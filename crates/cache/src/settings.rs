use std::time::Duration;

/// What the response cache of a server is told. Its fields are keys of `[cache]` in `adulis.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheSettings {
    /// Most bytes that answers take in memory, overhead included; 0 keeps none there.
    pub memory_bytes: u64,
    /// Most bytes of one answer, or of one row where rows are looked up one by one.
    pub max_entry_bytes: usize,
    /// Most rows of a request that are looked up one by one. A request of more is looked up whole.
    pub max_rows: usize,
    /// How long answers are given, for models that do not say; `None` as long as they are worth their room.
    pub ttl: Option<Duration>,
    /// By which part of it each answer's time is shortened, at most, so that what came together does not go together: 0 to 1.
    pub jitter: f64,
    /// Whether all models are cached that can be, whether their configuration says so or not.
    pub all_models: bool,
    /// For how long one replica says that it is computing an answer which others wait for; zero does not say so.
    pub lease: Duration,
    /// How often replicas look in the tier that they share whether another one has purged.
    pub purge_interval: Duration,
    /// Answers of at least this many bytes are compressed in shared tiers; `None` compresses none.
    pub compress_from_bytes: Option<usize>,
    /// Deployments that share a tier and not their answers have different ones.
    pub namespace: String,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            max_entry_bytes: 16 << 20,
            max_rows: 1024,
            ttl: None,
            jitter: 0.1,
            all_models: false,
            lease: Duration::from_secs(2),
            purge_interval: Duration::from_secs(1),
            compress_from_bytes: Some(4096),
            namespace: String::new(),
        }
    }
}

/// How the answers of one model version are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModelPolicy {
    /// How long they are given; `None` as long as they are worth their room.
    pub ttl: Option<Duration>,
    /// How much longer they are given while they are computed anew; zero not at all.
    pub stale_while_revalidate: Duration,
    /// How long failures are remembered that would be the same each time; zero not at all.
    pub negative_ttl: Duration,
    /// Whether each row of a request is looked up by itself.
    pub row_wise: bool,
}
