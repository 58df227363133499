//! From a model's configuration and the signature of its file to how it is served.

use std::collections::BTreeMap;
use std::time::Duration;

use adulis_backend::{
    Batching, EngineOptions, ExecutionProvider, GraphOptimization, ModelSignature, TensorSpec,
};
use adulis_batcher::{AdmissionPolicy, BatchPolicy, QueuePolicy, TimeoutAction};
use adulis_repository as repository;
use adulis_repository::{GraphLevel, InstanceKind, ModelConfig, Scheduling, TensorConfig};
use adulis_tensor::ShapePattern;

use crate::reshape::Reshapes;
use crate::sequences::{self, SequencePlan};
use crate::settings::or_cores;
use crate::{Admission, LoadError, Settings};

/// Shares of execution time that a model of the highest priority gets.
const FULL_WEIGHT: u32 = 1024;

/// How a model version is served.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
    /// Rows that one request or batch may carry; `None` where the leading dimension is not a batch dimension.
    pub(crate) max_rows: Option<usize>,
    /// The batching was derived from the model and has not been tried.
    pub(crate) unproven: bool,
    pub(crate) merges: bool,
    pub(crate) policy: BatchPolicy,
    /// How requests are admitted by what they will cost, if they are.
    pub(crate) admission: Option<AdmissionPolicy>,
    pub(crate) preserve_ordering: bool,
    pub(crate) instances: usize,
    pub(crate) weight: u32,
    /// Where requests form sequences: `inputs` and `outputs` are the whole signature then, and not all of it is the clients'.
    pub(crate) sequences: Option<SequencePlan>,
    pub(crate) reshapes: Reshapes,
}

/// How long a request of this priority may wait in the queue before it is refused; `None` where it may wait for ever,
/// or is only put back.
pub(crate) fn queue_timeout(policy: &BatchPolicy, priority: u64) -> Option<Duration> {
    let policy = policy.queue_policy(policy.level(priority));
    match policy.timeout_action {
        TimeoutAction::Reject => policy.timeout(None),
        TimeoutAction::Delay => None,
    }
}

impl Plan {
    /// Derives the plan.
    ///
    /// # Errors
    /// [`LoadError::Configuration`] where configuration and model disagree.
    pub(crate) fn derive(
        config: &ModelConfig,
        signature: &ModelSignature,
        settings: &Settings,
    ) -> Result<Self, LoadError> {
        let dynamic = config.scheduling.dynamic();
        let possible = signature.batching == Batching::Possible;
        let (max_rows, unproven) = match config.max_batch_size {
            Some(0) => (None, false),
            Some(rows) if possible || leading_open(signature) => (Some(rows), false),
            Some(rows) => {
                return Err(disagree(
                    "max_batch_size",
                    format!(
                        "{rows} asks for batching, but not every input and output of the model has an open leading dimension"
                    ),
                ));
            }
            None if possible && declared_batching(config, signature) => {
                let rows = Some(settings.default_max_batch_size).filter(|rows| *rows > 0);
                // A row is a sequence's own: whether rows are independent has to be taken on trust.
                (rows, config.scheduling.sequence().is_none())
            }
            None => (None, false),
        };
        let merges = max_rows.is_some_and(|rows| rows > 1)
            && (dynamic.is_some() || config.max_batch_size.is_none())
            && config.scheduling.sequence().is_none();
        let batching = dynamic.cloned().unwrap_or_default();
        let batches = max_rows.is_some();
        let inputs = complete("input", &config.inputs, &signature.inputs, batches)?;
        let outputs = complete("output", &config.outputs, &signature.outputs, batches)?;
        let instances = instances(config);
        let whole = sequences::Model {
            inputs: &inputs,
            outputs: &outputs,
            declared_outputs: &config.outputs,
            max_rows,
            instances,
        };
        let sequences = config.scheduling.sequence();
        let sequences =
            sequences.map(|batching| SequencePlan::derive(batching, whole, settings)).transpose()?;
        Ok(Self {
            reshapes: Reshapes::new((&config.inputs, &inputs), (&config.outputs, &outputs), batches),
            inputs,
            outputs,
            max_rows,
            unproven,
            merges,
            preserve_ordering: batching.preserve_ordering,
            policy: policy(batching, if merges { max_rows } else { None }, settings),
            admission: admission(config, instances, settings),
            instances,
            sequences,
            weight: (FULL_WEIGHT / config.priority()).max(1),
        })
    }

    /// Inputs and outputs as clients see them.
    pub(crate) fn visible(&self) -> (Vec<TensorSpec>, Vec<TensorSpec>) {
        let Some(sequences) = &self.sequences else {
            return (self.inputs.clone(), self.outputs.clone());
        };
        let pick = |specs: &[TensorSpec], indices: &[usize]| {
            indices.iter().map(|&index| specs[index].clone()).collect()
        };
        (pick(&self.inputs, &sequences.inputs), pick(&self.outputs, &sequences.outputs))
    }

    /// The same plan for a model that turned out not to batch.
    pub(crate) fn without_batching(mut self) -> Self {
        self.max_rows = None;
        self.merges = false;
        self.unproven = false;
        self.policy.max_batch_size = 0;
        self.reshapes = self.reshapes.without_batching();
        self
    }
}

/// Refuses what a configuration may ask for and the engine cannot do yet, before anything is loaded.
///
/// # Errors
/// [`LoadError::Configuration`] with the key.
pub fn check_supported(config: &ModelConfig) -> Result<(), LoadError> {
    if config.decoupled && matches!(config.scheduling, Scheduling::Sequence(_)) {
        let reason = "is not built yet for sequences".to_owned();
        return Err(disagree("model_transaction_policy.decoupled", reason));
    }
    let limited = config.safeguards.max_execution_time.is_some_and(|limit| !limit.is_zero());
    if limited && (config.decoupled || matches!(config.scheduling, Scheduling::Sequence(_))) {
        let reason = "is not built yet for sequences and decoupled models".to_owned();
        return Err(disagree("parameters.max_execution_time", reason));
    }
    let mut tensors = config.inputs.iter().chain(&config.outputs);
    let ordinary = matches!(config.scheduling, Scheduling::Unconfigured | Scheduling::Dynamic(_));
    let plain = ordinary && !config.decoupled;
    let key = if !plain && tensors.any(|tensor| tensor.reshape.is_some()) {
        "reshape"
    } else {
        return Ok(());
    };
    Err(disagree(key, "is not built yet".to_owned()))
}

/// The signature that a configuration declares, for backends whose models carry none.
pub(crate) fn declared(config: &ModelConfig) -> Option<ModelSignature> {
    if config.inputs.is_empty() || config.outputs.is_empty() {
        return None;
    }
    let batches = config.max_batch_size.is_some_and(|rows| rows > 0);
    let batching = if batches { Batching::Possible } else { Batching::No };
    let (mut inputs, mut outputs) =
        (declared_specs(&config.inputs, batches), declared_specs(&config.outputs, batches));
    if let Some(sequences) = config.scheduling.sequence() {
        let (more_inputs, more_outputs) = sequences::hidden(sequences, batches);
        inputs.extend(more_inputs);
        let is_new = |output: &TensorSpec| !config.outputs.iter().any(|known| known.name == *output.name);
        outputs.extend(more_outputs.into_iter().filter(is_new));
    }
    Some(ModelSignature { inputs, outputs, batching })
}

/// Tensors as they are declared, with the batch dimension where there is one.
pub(crate) fn declared_specs(tensors: &[TensorConfig], batches: bool) -> Vec<TensorSpec> {
    let spec = |tensor: &TensorConfig| TensorSpec {
        name: tensor.name.as_str().into(),
        datatype: tensor.datatype,
        shape: whole_shape(tensor, batches),
        optional: tensor.optional,
    };
    tensors.iter().map(spec).collect()
}

/// Engine options of a model: the server's, with what its configuration says on top.
pub(crate) fn engine_options(config: &ModelConfig, settings: &Settings) -> EngineOptions {
    let mut options = settings.engine.clone();
    let wanted = &config.optimization;
    let gpu = config.instance_group.iter().find(|group| group.kind == InstanceKind::Gpu);
    let accelerators = if gpu.is_some() { &wanted.gpu_accelerators } else { &wanted.cpu_accelerators };
    if !accelerators.is_empty() {
        options.providers = accelerators
            .iter()
            .map(|accelerator| ExecutionProvider {
                name: accelerator.name.clone(),
                options: accelerator.parameters.clone(),
            })
            .collect();
    }
    if let Some(group) = gpu {
        options.device_id = group.gpus.first().copied().or(Some(0));
        if accelerators.is_empty() {
            options.providers = vec![ExecutionProvider { name: "cuda".to_owned(), options: BTreeMap::new() }];
        }
    }
    if let Some(level) = wanted.graph_level {
        options.graph_optimization = match level {
            GraphLevel::Disabled => GraphOptimization::Disabled,
            GraphLevel::Basic => GraphOptimization::Basic,
            GraphLevel::Extended => GraphOptimization::Extended,
            GraphLevel::All => GraphOptimization::All,
        };
    }
    options.provider_fallback = wanted.provider_fallback.unwrap_or(options.provider_fallback);
    options.intra_op_threads = wanted.intra_op_threads.unwrap_or(options.intra_op_threads);
    options.arena = wanted.arena.unwrap_or(options.arena);
    options.arena_limit_bytes = wanted.arena_limit_bytes.or(options.arena_limit_bytes);
    if wanted.optimized_cache == Some(false) {
        options.optimized_cache = None;
    }
    options.parameters = config.parameters.clone();
    options
}

fn policy(batching: repository::DynamicBatching, merge: Option<usize>, settings: &Settings) -> BatchPolicy {
    let queue_policy = |policy: repository::QueuePolicy| QueuePolicy {
        timeout_action: match policy.timeout_action {
            repository::TimeoutAction::Reject => TimeoutAction::Reject,
            repository::TimeoutAction::Delay => TimeoutAction::Delay,
        },
        default_timeout: policy.default_timeout,
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: policy.max_queue_size,
    };
    BatchPolicy {
        max_batch_size: merge.unwrap_or(0),
        preferred_batch_sizes: batching.preferred_batch_size,
        max_queue_delay: if merge.is_some() { batching.max_queue_delay } else { Duration::ZERO },
        priority_levels: batching.priority_levels,
        default_priority: batching.default_priority_level,
        default_queue_policy: batching.default_queue_policy.map(queue_policy).unwrap_or_default(),
        priority_queue_policy: batching
            .priority_queue_policy
            .into_iter()
            .map(|(level, policy)| (level, queue_policy(policy)))
            .collect(),
        max_queued_rows: settings.max_queued_rows,
    }
}

/// None for requests of sequences, which must not be refused in their middle, and for decoupled models, whose runs take as
/// long as their clients have them take.
fn admission(config: &ModelConfig, instances: usize, settings: &Settings) -> Option<AdmissionPolicy> {
    if settings.admission == Admission::None || config.decoupled || config.scheduling.sequence().is_some() {
        return None;
    }
    let max_queue_time = config.safeguards.max_queue_time.or(settings.max_queue_time);
    Some(AdmissionPolicy {
        parallel: parallel(instances, settings),
        max_queue_time: max_queue_time.filter(|limit| !limit.is_zero()),
    })
}

/// Batches of a model that run at a time at most.
pub(crate) fn parallel(instances: usize, settings: &Settings) -> usize {
    instances.min(or_cores(settings.execution_threads))
}

fn instances(config: &ModelConfig) -> usize {
    let count = config
        .instance_group
        .iter()
        .map(|group| group.count * group.gpus.len().max(1))
        .sum::<usize>();
    count.max(1)
}

fn leading_open(signature: &ModelSignature) -> bool {
    signature
        .inputs
        .iter()
        .chain(&signature.outputs)
        .all(|spec| spec.shape.first() == Some(&-1))
}

/// Whether what is declared of the tensors agrees with a batch dimension in front: their rank is one less.
fn declared_batching(config: &ModelConfig, signature: &ModelSignature) -> bool {
    let declared = config.inputs.iter().chain(&config.outputs);
    let specs = || signature.inputs.iter().chain(&signature.outputs);
    declared.clone().all(|tensor| {
        let spec = specs().find(|spec| *spec.name == tensor.name);
        spec.is_none_or(|spec| spec.shape.len() == own_dims(tensor).len() + 1)
    })
}

/// The dimensions that the model itself has.
fn own_dims(tensor: &TensorConfig) -> &[i64] {
    tensor.reshape.as_deref().unwrap_or(&tensor.dims)
}

/// The shape that the model itself has.
fn whole_shape(tensor: &TensorConfig, batches: bool) -> ShapePattern {
    let shape = ShapePattern::new(own_dims(tensor));
    if batches { shape.prepend(-1) } else { shape }
}

/// The model's own tensors, checked against those that the configuration declares.
fn complete(
    side: &str,
    declared: &[TensorConfig],
    own: &[TensorSpec],
    batches: bool,
) -> Result<Vec<TensorSpec>, LoadError> {
    let mut specs = own.to_vec();
    for tensor in declared {
        let key = format!("{side} '{}'", tensor.name);
        let Some(spec) = specs.iter_mut().find(|spec| *spec.name == tensor.name) else {
            let names: Vec<&str> = own.iter().map(|spec| &*spec.name).collect();
            return Err(disagree(&key, format!("the model has no such {side}; it has {}", names.join(", "))));
        };
        if spec.datatype != tensor.datatype {
            let reason = format!("configured as {}, the model has {}", tensor.datatype, spec.datatype);
            return Err(disagree(&key, reason));
        }
        let shape = whole_shape(tensor, batches);
        let agrees = shape.len() == spec.shape.len()
            && shape.iter().zip(spec.shape.iter()).all(|(a, b)| a == b || *a < 0 || *b < 0);
        if !agrees {
            return Err(disagree(&key, format!("configured shape is {shape}, the model has {}", spec.shape)));
        }
        let narrowed: Vec<i64> = shape.iter().zip(spec.shape.iter()).map(|(a, b)| *a.max(b)).collect();
        spec.shape = ShapePattern::new(&narrowed);
        spec.optional |= tensor.optional;
    }
    Ok(specs)
}

fn disagree(key: &str, reason: String) -> LoadError {
    LoadError::Configuration { key: key.to_owned(), reason }
}

#[cfg(test)]
mod tests;
