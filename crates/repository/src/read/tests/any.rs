//! Any configuration that can be.

use proptest::prelude::*;
use proptest::{collection, option, sample};

use super::*;
use crate::{
    ControlKind, Ensemble, EnsembleStep, FalseTrue, InitialData, InitialState, Resource, SequenceBatching,
    SequenceControl, SequenceState, SequenceStrategy, TensorFormat,
};

pub(super) fn any_config() -> impl Strategy<Value = ModelConfig> {
    let tensors = (any_tensors(true), any_tensors(false));
    let batching = option::of(1..64_usize)
        .prop_flat_map(|max| (Just(max), any_scheduling(max.unwrap_or(64)), any::<[bool; 2]>()));
    let texts = || collection::btree_map("[a-z.]{1,8}", ".{0,12}", 0..3);
    let rest = (collection::vec(any_warmup(), 0..2), any_optimization(), [texts(), texts(), texts()]);
    (any_versions(), collection::vec(any_group(), 0..3), batching, tensors, rest).prop_map(
        |(
            version_policy,
            instance_group,
            (max_batch_size, scheduling, [decoupled, cached]),
            tensors,
            rest,
        )| {
            let (inputs, outputs) = tensors;
            let (warmup, optimization, [parameters, metric_tags, cc_model_filenames]) = rest;
            let stateless = scheduling.sequence().is_none();
            let config = ModelConfig {
                version_policy,
                instance_group,
                parameters,
                metric_tags,
                cc_model_filenames,
                max_batch_size,
                decoupled,
                response_cache: cached && stateless && !decoupled,
                warmup,
                optimization,
                auto_complete: max_batch_size.is_none() && inputs.is_empty() && outputs.is_empty(),
                inputs,
                outputs,
                ..ModelConfig::derived("digits")
            };
            match scheduling {
                Scheduling::Ensemble(ensemble) => as_ensemble(config, ensemble),
                scheduling => ModelConfig { scheduling, ..config },
            }
        },
    )
}

/// Tensors that fit the chain of steps, and no instances.
fn as_ensemble(config: ModelConfig, ensemble: Ensemble) -> ModelConfig {
    ModelConfig {
        inputs: vec![tensor("t0", DataType::Fp32, &[1])],
        outputs: vec![tensor(
            &format!("t{}", ensemble.steps.len()),
            DataType::Fp32,
            &[1],
        )],
        instance_group: vec![],
        platform: Some("ensemble".to_owned()),
        auto_complete: false,
        scheduling: Scheduling::Ensemble(ensemble),
        ..config
    }
}

fn any_scheduling(max: usize) -> impl Strategy<Value = Scheduling> {
    prop_oneof![
        Just(Scheduling::Unconfigured),
        any_batching(max).prop_map(Scheduling::Dynamic),
        any_sequence(max).prop_map(Scheduling::Sequence),
        any_ensemble().prop_map(Scheduling::Ensemble),
    ]
}

fn any_delay() -> impl Strategy<Value = Duration> {
    (0..10_000_000_u64).prop_map(Duration::from_micros)
}

fn any_sizes(max: usize) -> impl Strategy<Value = Vec<usize>> {
    collection::btree_set(1..=max, 0..4).prop_map(|sizes| sizes.into_iter().collect())
}

fn any_batching(max: usize) -> impl Strategy<Value = DynamicBatching> {
    let policy = (any::<bool>(), 0..1_000_000_u64, any::<bool>(), 0..1000_usize).prop_map(
        |(delay, timeout, allow_timeout_override, max_queue_size)| QueuePolicy {
            timeout_action: if delay { TimeoutAction::Delay } else { TimeoutAction::Reject },
            default_timeout: (timeout > 0).then(|| Duration::from_micros(timeout)),
            allow_timeout_override,
            max_queue_size,
        },
    );
    (any_sizes(max), any_delay(), 0..4_u32, option::of(policy)).prop_map(
        |(preferred_batch_size, max_queue_delay, levels, policy)| DynamicBatching {
            preferred_batch_size,
            max_queue_delay,
            preserve_ordering: false,
            priority_levels: levels,
            default_priority_level: levels,
            priority_queue_policy: (1..=levels).filter_map(|level| Some((level, policy.clone()?))).collect(),
            default_queue_policy: policy,
        },
    )
}

fn any_sequence(max: usize) -> impl Strategy<Value = SequenceBatching> {
    let direct = (any_delay(), 0.0..=1.0_f32).prop_map(|(max_queue_delay, minimum_slot_utilization)| {
        SequenceStrategy::Direct { max_queue_delay, minimum_slot_utilization }
    });
    let oldest = (1..100_usize, any_sizes(max), any_delay(), any::<bool>()).prop_map(
        |(max_candidate_sequences, preferred_batch_size, max_queue_delay, preserve_ordering)| {
            SequenceStrategy::Oldest {
                max_candidate_sequences,
                preferred_batch_size,
                max_queue_delay,
                preserve_ordering,
            }
        },
    );
    let values = prop_oneof![
        any::<[i32; 2]>().prop_map(FalseTrue::Int32),
        [-9.0..9.0_f32, -9.0..9.0_f32].prop_map(FalseTrue::Fp32),
        any::<[bool; 2]>().prop_map(FalseTrue::Bool),
    ];
    let kinds = (values.clone(), values.clone(), values).prop_map(|(start, ready, end)| {
        let id = ControlKind::CorrelationId(DataType::Bytes);
        vec![
            ControlKind::Start(start),
            ControlKind::Ready(ready),
            ControlKind::End(end),
            id,
        ]
    });
    let controls = kinds.prop_flat_map(|kinds| sample::subsequence(kinds, 0..=4)).prop_map(|kinds| {
        let named = kinds.into_iter().enumerate();
        named.map(|(index, kind)| SequenceControl { name: format!("c{index}"), kind }).collect()
    });
    let strategy = prop_oneof![direct, oldest];
    (strategy, 1..100_000_000_u64, controls, any_states()).prop_map(
        |(strategy, idle, control_inputs, states)| SequenceBatching {
            strategy,
            max_sequence_idle: Duration::from_micros(idle),
            control_inputs,
            states,
        },
    )
}

fn any_states() -> impl Strategy<Value = Vec<SequenceState>> {
    let dims = collection::vec(1..9_i64, 0..3);
    let one = (any_datatype(), dims, option::of("[ a-z]{0,4}"), any::<[bool; 2]>());
    collection::vec(one, 0..3).prop_map(|states| {
        let states = states.into_iter().enumerate().map(|(index, state)| {
            let (datatype, dims, initial, [open, use_same_buffer]) = state;
            let data = InitialData::Zero;
            SequenceState {
                input_name: format!("in{index}"),
                output_name: format!("out{index}"),
                datatype,
                initial: initial.map(|name| InitialState { name, dims: dims.clone(), data }),
                dims: dims.into_iter().map(|dim| if open { -1 } else { dim }).collect(),
                use_same_buffer,
            }
        });
        states.collect()
    })
}

fn any_ensemble() -> impl Strategy<Value = Ensemble> {
    let step = ("[a-z]{1,5}", option::of(1..u64::MAX / 2), option::of("[a-z/]{1,5}"));
    (collection::vec(step, 1..5), 0..100_usize).prop_map(|(steps, max_inflight_requests)| {
        let steps = steps.into_iter().enumerate().map(|(index, step)| EnsembleStep {
            model_name: step.0,
            model_version: step.1,
            input_map: parameters(&[("x", &format!("t{index}"))]),
            output_map: parameters(&[
                ("y", &format!("t{}", index + 1)),
                ("z", &format!("unused{index}")),
            ]),
            model_namespace: step.2,
        });
        Ensemble { steps: steps.collect(), max_inflight_requests }
    })
}

fn any_datatype() -> impl Strategy<Value = DataType> {
    sample::select(DataType::ALL.to_vec())
}

fn any_tensors(inputs: bool) -> impl Strategy<Value = Vec<TensorConfig>> {
    let name = "[a-zA-Z0-9_. \"'/\\\\-]{1,12}";
    let formats = vec![TensorFormat::None, TensorFormat::Nhwc, TensorFormat::Nchw];
    let dims = collection::vec(-1..1000_i64, 0..5);
    let one = (any_datatype(), dims, sample::select(formats), any::<[bool; 2]>());
    collection::btree_map(name, one, 0..4).prop_map(move |tensors| {
        let tensors = tensors.into_iter().map(|(name, (datatype, dims, format, [reshape, optional]))| {
            let longer = || [1].into_iter().chain(dims.iter().copied()).collect();
            TensorConfig {
                reshape: reshape.then(longer),
                format: if inputs { format } else { TensorFormat::None },
                optional: inputs && optional,
                ..tensor(&name, datatype, &dims)
            }
        });
        tensors.collect()
    })
}

fn any_versions() -> impl Strategy<Value = VersionPolicy> {
    prop_oneof![
        Just(VersionPolicy::All),
        (1..100_usize).prop_map(VersionPolicy::Latest),
        collection::btree_set(1..1_000_000_u64, 1..4)
            .prop_map(|versions| VersionPolicy::Specific(versions.into_iter().collect())),
    ]
}

fn any_group() -> impl Strategy<Value = InstanceGroup> {
    let resource = ("[a-zA-Z]{1,4}", any::<bool>(), any::<u32>());
    let resource = resource.prop_map(|(name, global, count)| Resource { name, global, count });
    let limiter = (collection::vec(resource, 0..3), 1..u32::MAX)
        .prop_map(|(resources, priority)| RateLimiter { resources, priority });
    let names = [option::of("[a-z_0-9]{1,6}"), option::of("[a-z_0-9]{1,6}")];
    (1..9_usize, collection::btree_set(0..8_u32, 0..3), option::of(limiter), names).prop_map(
        |(count, gpus, rate_limiter, [name, host_policy])| {
            let kind = if gpus.is_empty() { InstanceKind::Cpu } else { InstanceKind::Gpu };
            InstanceGroup { name, count, kind, gpus: gpus.into_iter().collect(), rate_limiter, host_policy }
        },
    )
}

fn any_warmup() -> impl Strategy<Value = Warmup> {
    let dims = collection::vec(0..9_i64, 0..3);
    let data = sample::select(vec![WarmupData::Zero, WarmupData::Random]);
    let inputs = collection::btree_map("[a-z]{1,4}", (any_datatype(), dims, data), 0..3);
    (".{1,6}", 1..100_usize, inputs).prop_map(|(name, count, inputs)| {
        let inputs = inputs.into_iter();
        let inputs = inputs.map(|(name, (datatype, dims, data))| WarmupInput { name, datatype, dims, data });
        Warmup { name, batch_size: 1, count, inputs: inputs.collect() }
    })
}

fn any_optimization() -> impl Strategy<Value = Optimization> {
    let levels = vec![
        None,
        Some(GraphLevel::Disabled),
        Some(GraphLevel::Basic),
        Some(GraphLevel::Extended),
    ];
    let options = || collection::btree_map("[a-z_]{1,6}", ".{0,6}", 0..3);
    let accelerators = || {
        collection::btree_map("[a-z]{1,6}", options(), 0..3).prop_map(|accelerators| {
            let accelerators = accelerators.into_iter();
            accelerators
                .map(|(name, parameters)| Accelerator { name, parameters })
                .collect::<Vec<_>>()
        })
    };
    (sample::select(levels), accelerators(), accelerators()).prop_map(
        |(graph_level, gpu_accelerators, cpu_accelerators)| Optimization {
            graph_level,
            gpu_accelerators,
            cpu_accelerators,
            ..Optimization::default()
        },
    )
}
