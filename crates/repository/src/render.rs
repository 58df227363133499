//! From a [`ModelConfig`] back to what is written.

use toml::{Table, Value};

use crate::name::datatype_name;
use crate::raw::{
    RawAccelerator, RawAccelerators, RawDynamicBatching, RawGraph, RawInstanceGroup, RawModel,
    RawOptimization, RawQueuePolicy, RawRateLimiter, RawTensor, RawWarmup, RawWarmupInput,
};
use crate::{
    Accelerator, DynamicBatching, GraphLevel, InstanceGroup, InstanceKind, ModelConfig, Optimization,
    QueuePolicy, TensorConfig, TimeoutAction, VersionPolicy, Warmup, WarmupData, WarmupInput,
};

/// The text of a `model.toml`.
pub(crate) fn to_toml(config: &ModelConfig) -> String {
    toml::to_string_pretty(&raw(config))
        .expect("invariant: the raw form has string keys and TOML values only")
}

fn raw(config: &ModelConfig) -> RawModel {
    let mut instance_group: Vec<_> = config.instance_group.iter().map(group).collect();
    if config.priority != 1 {
        for group in &mut instance_group {
            group.rate_limiter = Some(RawRateLimiter {
                priority: Some(i64::from(config.priority)),
                ..RawRateLimiter::default()
            });
        }
    }
    let parameters = config.parameters.iter();
    RawModel {
        name: Some(config.name.clone()),
        platform: config.platform.clone(),
        backend: config.backend.clone(),
        default_model_filename: config.default_model_filename.clone(),
        max_batch_size: config.max_batch_size.map(signed),
        version_policy: Some(version_policy(&config.version_policy)),
        parameters: parameters.map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect(),
        optimization: optimization(&config.optimization),
        dynamic_batching: config.dynamic_batching.as_ref().map(batching),
        instance_group,
        input: config.inputs.iter().map(tensor).collect(),
        output: config.outputs.iter().map(tensor).collect(),
        model_warmup: config.warmup.iter().map(warmup).collect(),
        ..RawModel::default()
    }
}

/// Counts come from `i64`s; what does not fit any more says "very many".
fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn version_policy(policy: &VersionPolicy) -> Value {
    let (key, value) = match policy {
        VersionPolicy::All => return Value::String("all".to_owned()),
        VersionPolicy::Latest(count) => ("latest", Value::Integer(signed(*count))),
        VersionPolicy::Specific(versions) => {
            let versions = versions.iter().map(|version| i64::try_from(*version).unwrap_or(i64::MAX));
            ("specific", versions.map(Value::Integer).collect::<Vec<_>>().into())
        }
    };
    Value::Table(Table::from_iter([(key.to_owned(), value)]))
}

fn tensor(tensor: &TensorConfig) -> RawTensor {
    RawTensor {
        name: Some(tensor.name.clone()),
        data_type: Some(datatype_name(tensor.datatype)),
        dims: tensor.dims.clone(),
        optional: tensor.optional.then_some(true),
        label_filename: tensor.label_filename.clone(),
        ..RawTensor::default()
    }
}

fn group(group: &InstanceGroup) -> RawInstanceGroup {
    let kind = match group.kind {
        InstanceKind::Auto => "KIND_AUTO",
        InstanceKind::Cpu => "KIND_CPU",
        InstanceKind::Gpu => "KIND_GPU",
    };
    RawInstanceGroup {
        count: Some(signed(group.count)),
        kind: Some(kind.to_owned()),
        gpus: group.gpus.iter().copied().map(i64::from).collect(),
        ..RawInstanceGroup::default()
    }
}

fn microseconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn batching(batching: &DynamicBatching) -> RawDynamicBatching {
    let policies = batching.priority_queue_policy.iter();
    RawDynamicBatching {
        preferred_batch_size: batching.preferred_batch_size.iter().copied().map(signed).collect(),
        max_queue_delay_microseconds: Some(microseconds(batching.max_queue_delay)),
        preserve_ordering: batching.preserve_ordering,
        priority_levels: Some(i64::from(batching.priority_levels)),
        default_priority_level: Some(i64::from(batching.default_priority_level)),
        default_queue_policy: batching.default_queue_policy.as_ref().map(queue_policy),
        priority_queue_policy: policies
            .map(|(level, policy)| (level.to_string(), queue_policy(policy)))
            .collect(),
        max_queue_delay: None,
    }
}

fn queue_policy(policy: &QueuePolicy) -> RawQueuePolicy {
    let action = match policy.timeout_action {
        TimeoutAction::Reject => "REJECT",
        TimeoutAction::Delay => "DELAY",
    };
    RawQueuePolicy {
        timeout_action: Some(action.to_owned()),
        default_timeout_microseconds: policy.default_timeout.map(microseconds),
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: Some(signed(policy.max_queue_size)),
        default_timeout: None,
    }
}

/// The options that are parameters stay among the parameters.
fn optimization(optimization: &Optimization) -> RawOptimization {
    let level = optimization.graph_level.map(|level| match level {
        GraphLevel::Disabled => "disabled",
        GraphLevel::Basic => "basic",
        GraphLevel::Extended => "extended",
        GraphLevel::All => "all",
    });
    let accelerators = RawAccelerators {
        gpu_execution_accelerator: optimization.gpu_accelerators.iter().map(accelerator).collect(),
        cpu_execution_accelerator: optimization.cpu_accelerators.iter().map(accelerator).collect(),
    };
    let any = !(optimization.gpu_accelerators.is_empty() && optimization.cpu_accelerators.is_empty());
    RawOptimization {
        graph: level.map(|level| RawGraph { level: Some(Value::String(level.to_owned())) }),
        execution_accelerators: any.then_some(accelerators),
        ..RawOptimization::default()
    }
}

fn accelerator(accelerator: &Accelerator) -> RawAccelerator {
    let parameters = accelerator.parameters.iter();
    RawAccelerator {
        name: Some(accelerator.name.clone()),
        parameters: parameters.map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect(),
    }
}

fn warmup(warmup: &Warmup) -> RawWarmup {
    let inputs = warmup.inputs.iter();
    RawWarmup {
        name: Some(warmup.name.clone()),
        batch_size: Some(signed(warmup.batch_size)),
        count: Some(signed(warmup.count)),
        inputs: inputs.map(|input| (input.name.clone(), warmup_input(input))).collect(),
    }
}

fn warmup_input(input: &WarmupInput) -> RawWarmupInput {
    let mut raw = RawWarmupInput {
        data_type: Some(datatype_name(input.datatype)),
        dims: input.dims.clone(),
        ..RawWarmupInput::default()
    };
    match &input.data {
        WarmupData::Zero => raw.zero_data = Some(true),
        WarmupData::Random => raw.random_data = Some(true),
        WarmupData::File(path) => {
            raw.input_data_file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        }
    }
    raw
}
