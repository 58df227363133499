//! From a [`ModelConfig`] back to what is written.

mod scheduling;
mod sequence;

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use crate::name::datatype_name;
use crate::raw::{
    RawAccelerator, RawAccelerators, RawGraph, RawInstanceGroup, RawModel, RawOptimization, RawRateLimiter,
    RawReshape, RawResource, RawResponseCache, RawTensor, RawTransactionPolicy, RawWarmup, RawWarmupInput,
};
use crate::{
    Accelerator, GraphLevel, InstanceGroup, InstanceKind, ModelConfig, Optimization, RateLimiter,
    TensorConfig, TensorFormat, VersionPolicy, Warmup, WarmupData, WarmupInput,
};

/// The text of a `model.toml`.
pub(crate) fn to_toml(config: &ModelConfig) -> String {
    toml::to_string_pretty(&raw(config))
        .expect("invariant: the raw form has string keys and TOML values only")
}

fn raw(config: &ModelConfig) -> RawModel {
    let scheduling = &config.scheduling;
    RawModel {
        name: Some(config.name.clone()),
        platform: config.platform.clone(),
        backend: config.backend.clone(),
        default_model_filename: config.default_model_filename.clone(),
        max_batch_size: config.max_batch_size.map(signed),
        version_policy: Some(version_policy(&config.version_policy)),
        parameters: texts(&config.parameters),
        metric_tags: texts(&config.metric_tags),
        cc_model_filenames: texts(&config.cc_model_filenames),
        runtime: config.runtime.clone(),
        optimization: optimization(&config.optimization),
        dynamic_batching: scheduling.dynamic().map(scheduling::dynamic),
        sequence_batching: scheduling.sequence().map(sequence::batching),
        ensemble_scheduling: scheduling.ensemble().map(scheduling::ensemble),
        model_transaction_policy: config.decoupled.then_some(RawTransactionPolicy { decoupled: true }),
        response_cache: config.response_cache.then_some(RawResponseCache { enable: true }),
        instance_group: config.instance_group.iter().map(group).collect(),
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
    let format = match tensor.format {
        TensorFormat::None => None,
        TensorFormat::Nhwc => Some("FORMAT_NHWC"),
        TensorFormat::Nchw => Some("FORMAT_NCHW"),
    };
    RawTensor {
        name: Some(tensor.name.clone()),
        data_type: Some(datatype_name(tensor.datatype)),
        dims: tensor.dims.clone(),
        reshape: tensor.reshape.clone().map(|shape| RawReshape { shape }),
        format: format.map(str::to_owned),
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
        name: group.name.clone(),
        count: Some(signed(group.count)),
        kind: Some(kind.to_owned()),
        gpus: group.gpus.iter().copied().map(i64::from).collect(),
        rate_limiter: group.rate_limiter.as_ref().map(rate_limiter),
        host_policy: group.host_policy.clone(),
        ..RawInstanceGroup::default()
    }
}

fn microseconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn rate_limiter(limiter: &RateLimiter) -> RawRateLimiter {
    let resources = limiter.resources.iter().map(|resource| RawResource {
        name: Some(resource.name.clone()),
        global: resource.global,
        count: i64::from(resource.count),
    });
    RawRateLimiter { resources: resources.collect(), priority: Some(i64::from(limiter.priority)) }
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
    RawAccelerator { name: Some(accelerator.name.clone()), parameters: texts(&accelerator.parameters) }
}

fn texts(texts: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let texts = texts.iter();
    texts.map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect()
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
        WarmupData::File(path) => raw.input_data_file = file_name(path),
    }
    raw
}

/// Of a file in the model's folder, what configurations call it.
fn file_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}
