use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Counts and cumulative times of one model version since it was loaded.
///
/// Source: Triton's statistics extension. All durations are sums over `count`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelStatistics {
    /// The model's name.
    pub name: Arc<str>,
    /// The version.
    pub version: u64,
    /// When the last inference ended, since 1970; zero if there was none.
    pub last_inference: Duration,
    /// Rows inferred: a batch of n counts n. Answers from the cache do not count.
    pub inference_count: u64,
    /// Executions of the model.
    pub execution_count: u64,
    /// Per request: success, failure and each stage.
    pub inference: InferenceStatistics,
    /// Per response of decoupled models, by its index in the stream.
    pub responses: BTreeMap<u64, ResponseStatistics>,
    /// Per number of rows in an execution, ascending.
    pub batches: Vec<BatchStatistics>,
}

/// How often something happened, and how long it took in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DurationStatistic {
    /// How often.
    pub count: u64,
    /// In all.
    pub total: Duration,
}

/// Requests and their stages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InferenceStatistics {
    /// Requests answered, from arrival to answer.
    pub success: DurationStatistic,
    /// Requests that failed.
    pub fail: DurationStatistic,
    /// Waiting for an execution.
    pub queue: DurationStatistic,
    /// Gathering inputs.
    pub compute_input: DurationStatistic,
    /// The engine's run.
    pub compute_infer: DurationStatistic,
    /// Taking outputs over.
    pub compute_output: DurationStatistic,
    /// Answers found in the response cache.
    pub cache_hit: DurationStatistic,
    /// Look-ups that found nothing, with the insertion that followed.
    pub cache_miss: DurationStatistic,
}

/// One position in the responses of decoupled requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseStatistics {
    /// The engine's run.
    pub compute_infer: DurationStatistic,
    /// Taking outputs over.
    pub compute_output: DurationStatistic,
    /// Responses sent.
    pub success: DurationStatistic,
    /// Responses that were errors.
    pub fail: DurationStatistic,
    /// Responses without outputs.
    pub empty_response: DurationStatistic,
    /// Responses whose client had gone.
    pub cancel: DurationStatistic,
}

/// Executions of one batch size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchStatistics {
    /// Rows.
    pub batch_size: u64,
    /// Gathering inputs.
    pub compute_input: DurationStatistic,
    /// The engine's run.
    pub compute_infer: DurationStatistic,
    /// Taking outputs over.
    pub compute_output: DurationStatistic,
}
