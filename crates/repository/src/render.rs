//! From a [`ModelConfig`] back to what is written.

mod scheduling;
mod sequence;

use std::collections::BTreeMap;
use std::path::Path;

use prost_reflect::DynamicMessage;
use toml::{Table, Value};

use crate::name::datatype_name;
use crate::raw::{
    RawAccelerator, RawAccelerators, RawGraph, RawInstanceGroup, RawModel, RawOptimization, RawRateLimiter,
    RawReshape, RawResource, RawResponseCache, RawTensor, RawTransactionPolicy, RawWarmup, RawWarmupInput,
};
use crate::schema::{SCHEMA, message_of};
use crate::{
    Accelerator, GraphLevel, InstanceGroup, InstanceKind, ModelConfig, Optimization, RateLimiter,
    TensorConfig, TensorFormat, VersionPolicy, Warmup, WarmupData, WarmupInput,
};

/// The text of a `model.toml`, with the short forms that people write.
pub(crate) fn to_toml(config: &ModelConfig) -> String {
    let mut raw = RawModel {
        version_policy: Some(short_version_policy(&config.version_policy)),
        parameters: texts(&config.parameters),
        ..raw(config)
    };
    if let Some(level) = config.optimization.graph_level {
        let word = Value::String(graph_level_word(level).to_owned());
        raw.optimization.graph = Some(RawGraph { level: Some(word) });
    }
    toml::to_string_pretty(&raw).expect("invariant: the raw form has string keys and TOML values only")
}

/// The message of the schema that says the same.
pub(crate) fn to_message(config: &ModelConfig) -> DynamicMessage {
    let table = Table::try_from(raw(config)).ok();
    table.and_then(|table| message_of(&SCHEMA, &table)).expect(
        "invariant: the raw form has the schema's names and values only (tested over any configuration)",
    )
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
        parameters: parameters(&config.parameters),
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
        input: config.inputs.iter().map(input).collect(),
        output: config.outputs.iter().map(output).collect(),
        model_warmup: config.warmup.iter().map(warmup).collect(),
        ..RawModel::default()
    }
}

/// Counts come from `i64`s; what does not fit any more says "very many".
fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn version_policy(policy: &VersionPolicy) -> Value {
    let inner = |field: &str, value| Value::Table(Table::from_iter([(field.to_owned(), value)]));
    match policy {
        VersionPolicy::All => inner("all", Value::Table(Table::new())),
        VersionPolicy::Latest(count) => {
            inner("latest", inner("num_versions", Value::Integer(signed(*count))))
        }
        VersionPolicy::Specific(versions) => inner("specific", inner("versions", numbers(versions))),
    }
}

fn short_version_policy(policy: &VersionPolicy) -> Value {
    let (key, value) = match policy {
        VersionPolicy::All => return Value::String("all".to_owned()),
        VersionPolicy::Latest(count) => ("latest", Value::Integer(signed(*count))),
        VersionPolicy::Specific(versions) => ("specific", numbers(versions)),
    };
    Value::Table(Table::from_iter([(key.to_owned(), value)]))
}

fn numbers(versions: &[u64]) -> Value {
    let versions = versions.iter().map(|version| i64::try_from(*version).unwrap_or(i64::MAX));
    versions.map(Value::Integer).collect::<Vec<_>>().into()
}

fn parameters(parameters: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let value =
        |text: &String| Value::Table(Table::from_iter([("string_value".to_owned(), text.clone().into())]));
    parameters.iter().map(|(key, text)| (key.clone(), value(text))).collect()
}

fn input(tensor: &TensorConfig) -> RawTensor {
    let format = match tensor.format {
        TensorFormat::None => None,
        TensorFormat::Nhwc => Some("FORMAT_NHWC"),
        TensorFormat::Nchw => Some("FORMAT_NCHW"),
    };
    RawTensor {
        format: format.map(str::to_owned),
        optional: tensor.optional.then_some(true),
        ..either(tensor)
    }
}

fn output(tensor: &TensorConfig) -> RawTensor {
    RawTensor { label_filename: tensor.label_filename.clone(), ..either(tensor) }
}

/// What inputs and outputs both have.
fn either(tensor: &TensorConfig) -> RawTensor {
    RawTensor {
        name: Some(tensor.name.clone()),
        data_type: Some(datatype_name(tensor.datatype)),
        dims: tensor.dims.clone(),
        reshape: tensor.reshape.clone().map(|shape| RawReshape { shape }),
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

fn graph_level_word(level: GraphLevel) -> &'static str {
    match level {
        GraphLevel::Disabled => "disabled",
        GraphLevel::Basic => "basic",
        GraphLevel::Extended => "extended",
        GraphLevel::All => "all",
    }
}

/// Numbers as Triton's ONNX Runtime backend reads them.
fn graph_level(level: GraphLevel) -> RawGraph {
    let number = match level {
        GraphLevel::Disabled => 2,
        GraphLevel::Basic => -1,
        GraphLevel::Extended => 1,
        GraphLevel::All => 0,
    };
    RawGraph { level: Some(Value::Integer(number)) }
}

/// The options that are parameters stay among the parameters.
fn optimization(optimization: &Optimization) -> RawOptimization {
    let accelerators = RawAccelerators {
        gpu_execution_accelerator: optimization.gpu_accelerators.iter().map(accelerator).collect(),
        cpu_execution_accelerator: optimization.cpu_accelerators.iter().map(accelerator).collect(),
    };
    let any = !(optimization.gpu_accelerators.is_empty() && optimization.cpu_accelerators.is_empty());
    RawOptimization {
        graph: optimization.graph_level.map(graph_level),
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
