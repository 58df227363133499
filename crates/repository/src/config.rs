use std::collections::BTreeMap;
use std::sync::Arc;

use adulis_tensor::DataType;

use crate::{Caching, InstanceGroup, Labels, Optimization, Safeguards, Scheduling, VersionPolicy, Warmup};

/// How one model is to be served. What is `None` or empty is derived from the model or from the server's defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The model's name: its folder's.
    pub name: String,
    /// The backend that loads it: `backend` as written, or what `platform` maps to. `None` lets the server choose.
    pub backend: Option<String>,
    /// `platform` as written, such as `onnxruntime_onnx`.
    pub platform: Option<String>,
    /// Most rows that one execution takes. `None`: derived from the model; `Some(0)`: the model does not batch.
    pub max_batch_size: Option<usize>,
    /// Declared inputs; empty lets the model tell.
    pub inputs: Vec<TensorConfig>,
    /// Declared outputs; empty lets the model tell.
    pub outputs: Vec<TensorConfig>,
    /// Which versions are served.
    pub version_policy: VersionPolicy,
    /// Instances, by group; empty stands for one group of the server's default.
    pub instance_group: Vec<InstanceGroup>,
    /// How requests are brought to the instances.
    pub scheduling: Scheduling,
    /// Whether a request may have any number of responses (`model_transaction_policy.decoupled`).
    pub decoupled: bool,
    /// Whether responses may be taken from the cache (`response_cache.enable`).
    pub response_cache: bool,
    /// How those are kept, by the parameters that say so.
    pub caching: Caching,
    /// What keeps it from harm, by the parameters that say so.
    pub safeguards: Safeguards,
    /// Requests that run before the model is ready.
    pub warmup: Vec<Warmup>,
    /// What the engine may do to make it faster.
    pub optimization: Optimization,
    /// Free parameters, for the backend.
    pub parameters: BTreeMap<String, String>,
    /// Labels for the model's metrics.
    pub metric_tags: BTreeMap<String, String>,
    /// Name of the model file in a version's folder, where it is not the backend's usual one.
    pub default_model_filename: Option<String>,
    /// Names of model files by CUDA compute capability, which take no effect.
    pub cc_model_filenames: BTreeMap<String, String>,
    /// Name of the backend's library, which takes no effect: backends are chosen by name.
    pub runtime: Option<String>,
    /// Whether neither batching nor tensors were configured, so that both are completed from the model.
    pub auto_complete: bool,
}

impl ModelConfig {
    /// The configuration of a model that has none: everything derived.
    #[must_use]
    pub fn derived(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            backend: None,
            platform: None,
            max_batch_size: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            version_policy: VersionPolicy::default(),
            instance_group: Vec::new(),
            scheduling: Scheduling::default(),
            decoupled: false,
            response_cache: false,
            caching: Caching::default(),
            safeguards: Safeguards::default(),
            warmup: Vec::new(),
            optimization: Optimization::default(),
            parameters: BTreeMap::new(),
            metric_tags: BTreeMap::new(),
            default_model_filename: None,
            cc_model_filenames: BTreeMap::new(),
            runtime: None,
            auto_complete: true,
        }
    }

    /// Turns among models when execution threads are scarce: a model of priority `p` gets `1/p` of the turns that one of
    /// priority 1 gets. The lowest of the groups' rate limiters; at least 1, the default.
    #[must_use]
    pub fn priority(&self) -> u32 {
        let limiters = self.instance_group.iter().filter_map(|group| group.rate_limiter.as_ref());
        limiters.map(|limiter| limiter.priority).min().unwrap_or(1).max(1)
    }
}

/// A declared input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorConfig {
    /// Its name.
    pub name: String,
    /// Its datatype.
    pub datatype: DataType,
    /// Its dimensions, -1 for any extent. Without the batch dimension where `max_batch_size` is at least 1, the whole
    /// shape where it is 0; where it is derived, the rank says which (one less than the model's own: the model batches).
    pub dims: Vec<i64>,
    /// The shape that the model itself has in place of `dims`, which is what requests have.
    pub reshape: Option<Vec<i64>>,
    /// What the dimensions of an image mean (inputs only). For clients: it changes nothing here.
    pub format: TensorFormat,
    /// Whether a request may leave it out (inputs only).
    pub optional: bool,
    /// File with one label per line for classification (outputs only), relative to the model's folder.
    pub label_filename: Option<String>,
    /// What was in that file.
    pub labels: Option<Arc<Labels>>,
}

impl TensorConfig {
    /// A tensor with nothing but what every declaration has.
    #[must_use]
    pub fn new(name: impl Into<String>, datatype: DataType, dims: impl Into<Vec<i64>>) -> Self {
        Self {
            name: name.into(),
            datatype,
            dims: dims.into(),
            reshape: None,
            format: TensorFormat::None,
            optional: false,
            label_filename: None,
            labels: None,
        }
    }
}

/// What the dimensions of an input mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TensorFormat {
    /// Nothing is said.
    #[default]
    None,
    /// Height, width, channels.
    Nhwc,
    /// Channels, height, width.
    Nchw,
}
