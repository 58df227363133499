//! Any configuration survives being written, and no text makes the readers panic.

use proptest::prelude::*;

use super::*;

fn any_batching(max: usize) -> impl Strategy<Value = DynamicBatching> {
    let policy = (any::<bool>(), 0..1_000_000_u64, any::<bool>(), 0..1000_usize).prop_map(
        |(delay, timeout, allow_timeout_override, max_queue_size)| QueuePolicy {
            timeout_action: if delay { TimeoutAction::Delay } else { TimeoutAction::Reject },
            default_timeout: (timeout > 0).then(|| Duration::from_micros(timeout)),
            allow_timeout_override,
            max_queue_size,
        },
    );
    let sizes = proptest::collection::btree_set(1..=max, 0..4);
    (sizes, 0..10_000_000_u64, 0..4_u32, proptest::option::of(policy)).prop_map(
        |(sizes, delay, levels, policy)| DynamicBatching {
            preferred_batch_size: sizes.into_iter().collect(),
            max_queue_delay: Duration::from_micros(delay),
            preserve_ordering: false,
            priority_levels: levels,
            default_priority_level: levels,
            priority_queue_policy: (1..=levels).filter_map(|level| Some((level, policy.clone()?))).collect(),
            default_queue_policy: policy,
        },
    )
}

fn any_tensors() -> impl Strategy<Value = Vec<TensorConfig>> {
    let name = "[a-zA-Z0-9_. \"'/-]{1,12}";
    let dims = proptest::collection::vec(-1..1000_i64, 0..5);
    let one = (proptest::sample::select(DataType::ALL.to_vec()), dims);
    proptest::collection::btree_map(name, one, 0..4).prop_map(|tensors| {
        let tensors = tensors.into_iter();
        tensors.map(|(name, (datatype, dims))| tensor(&name, datatype, &dims)).collect()
    })
}

fn any_config() -> impl Strategy<Value = ModelConfig> {
    let policy = prop_oneof![
        Just(VersionPolicy::All),
        (1..100_usize).prop_map(VersionPolicy::Latest),
        proptest::collection::btree_set(1..1_000_000_u64, 1..4)
            .prop_map(|versions| VersionPolicy::Specific(versions.into_iter().collect())),
    ];
    let group = (1..9_usize, proptest::collection::btree_set(0..8_u32, 0..3)).prop_map(|(count, gpus)| {
        let kind = if gpus.is_empty() { InstanceKind::Cpu } else { InstanceKind::Gpu };
        InstanceGroup { count, kind, gpus: gpus.into_iter().collect(), ..InstanceGroup::default() }
    });
    let groups = proptest::collection::vec(group, 0..3);
    let parameters = proptest::collection::btree_map("[a-z.]{1,8}", ".{0,12}", 0..3);
    let batching = (1..64_usize).prop_flat_map(|max| {
        let batching = proptest::option::of(any_batching(max));
        (proptest::option::of(Just(max)), batching)
    });
    (policy, groups, parameters, batching, (any_tensors(), any_tensors())).prop_map(
        |(version_policy, instance_group, parameters, (max_batch_size, dynamic_batching), tensors)| {
            let (inputs, outputs) = tensors;
            ModelConfig {
                version_policy,
                instance_group,
                parameters,
                max_batch_size,
                scheduling: dynamic_batching.map_or_else(Scheduling::default, Scheduling::Dynamic),
                auto_complete: max_batch_size.is_none() && inputs.is_empty() && outputs.is_empty(),
                inputs,
                outputs,
                ..ModelConfig::derived("digits")
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_reads_back_the_same(config in any_config()) {
        let text = config.to_toml();
        let read = ModelConfig::read(ConfigFormat::Toml, &text, "digits", Path::new("/nowhere"));
        let read = read.map_err(|faults| TestCaseError::fail(format!("{faults:?}\n{text}")))?;
        prop_assert_eq!(read.config, config);
    }

    #[test]
    fn mutated_pbtxt_never_panics(
        cuts in proptest::collection::vec((0..FULL.len(), 0..40_usize), 0..4),
        noise in "[a-z_{}\\[\\]<>:;,\"'0-9 \\n#\\\\-]{0,24}",
        place in 0..FULL.len(),
    ) {
        let mut bytes = FULL.as_bytes().to_vec();
        for (at, length) in cuts {
            let start = at.min(bytes.len());
            let end = (start + length).min(bytes.len());
            bytes.drain(start..end);
        }
        let place = place.min(bytes.len());
        bytes.splice(place..place, noise.bytes());
        let text = String::from_utf8(bytes).unwrap();
        if let Err(faults) = ModelConfig::read(ConfigFormat::Pbtxt, &text, "digits", Path::new("/nowhere")) {
            prop_assert!(!faults.is_empty());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        for format in ConfigFormat::ALL {
            let _ = ModelConfig::read(format, &text, "digits", Path::new("/nowhere"));
        }
    }
}
