use std::collections::BTreeMap;

use adulis_types::DurationStatistic;

use super::*;
use crate::MetricsFormat;

fn report(model: &str, cache_hits: u64) -> TritonReport {
    let stage = |count, microseconds| DurationStatistic { count, total: Duration::from_micros(microseconds) };
    let inference = InferenceStatistics {
        success: stage(3, 5_000_900),
        fail: stage(2, 70),
        queue: stage(3, 11),
        compute_input: stage(3, 12),
        compute_infer: stage(3, 13),
        compute_output: stage(3, 14),
        cache_hit: stage(cache_hits, 15),
        ..InferenceStatistics::default()
    };
    let statistics = ModelStatistics {
        name: model.into(),
        version: 2,
        last_inference: Duration::ZERO,
        inference_count: 24,
        execution_count: 2,
        inference,
        responses: BTreeMap::new(),
        batches: Vec::new(),
    };
    let load_time = Duration::from_millis(1250);
    TritonReport { statistics, failures: [0, 1, 0, 1], pending: 7, load_time }
}

/// Each name, type and label is what Triton's users have in their dashboards.
#[test]
fn names_types_and_labels_are_tritons() {
    let registry = MetricRegistry::default();
    registry.register_triton_models(|| vec![report("m", 0)]);
    let expected = r#"
nv_inference_request_success counter{model="m",version="2"} 3
nv_inference_request_failure counter{model="m",reason="REJECTED",version="2"} 0
nv_inference_request_failure counter{model="m",reason="CANCELED",version="2"} 1
nv_inference_request_failure counter{model="m",reason="BACKEND",version="2"} 0
nv_inference_request_failure counter{model="m",reason="OTHER",version="2"} 1
nv_inference_count counter{model="m",version="2"} 24
nv_inference_exec_count counter{model="m",version="2"} 2
nv_inference_request_duration_us counter{model="m",version="2"} 5000900
nv_inference_queue_duration_us counter{model="m",version="2"} 11
nv_inference_compute_input_duration_us counter{model="m",version="2"} 12
nv_inference_compute_infer_duration_us counter{model="m",version="2"} 13
nv_inference_compute_output_duration_us counter{model="m",version="2"} 14
nv_inference_pending_request_count gauge{model="m",version="2"} 7
nv_model_load_duration_secs gauge{model="m",version="2"} 1.25
"#;
    assert_eq!(told(&registry), expected.trim_start());
}

/// The samples, each with its family's type behind its name.
fn told(registry: &MetricRegistry) -> String {
    let (mut told, mut kind) = (String::new(), String::new());
    for line in registry.render(MetricsFormat::Text).lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            kind = family.to_owned();
        } else if !line.starts_with('#') {
            let (name, rest) = line.split_once('{').unwrap();
            assert_eq!(kind.split(' ').next(), Some(name));
            told += &format!("{kind}{{{rest}\n");
        }
    }
    told
}

#[test]
fn cache_metrics_are_of_models_that_a_cache_was_asked_for() {
    let registry = MetricRegistry::default();
    registry.register_triton_models(|| vec![report("plain", 0), report("cached", 4)]);
    let text = registry.render(MetricsFormat::Text);
    let cache: Vec<&str> = text.lines().filter(|line| line.starts_with("nv_cache_")).collect();
    let expected = [
        "nv_cache_num_hits_per_model{model=\"cached\",version=\"2\"} 4",
        "nv_cache_num_misses_per_model{model=\"cached\",version=\"2\"} 0",
        "nv_cache_hit_duration_per_model{model=\"cached\",version=\"2\"} 15",
        "nv_cache_miss_duration_per_model{model=\"cached\",version=\"2\"} 0",
    ];
    assert_eq!(cache, expected);
}

#[test]
fn every_kind_of_error_has_a_reason() {
    let reasons: Vec<_> = ErrorKind::ALL.map(|kind| FailureReason::of(kind).as_str()).into();
    let count = |reason: &str| reasons.iter().filter(|told| **told == reason).count();
    assert_eq!([count("REJECTED"), count("CANCELED"), count("BACKEND")], [3, 1, 1], "{reasons:?}");
    for (index, reason) in FailureReason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, index);
    }
}
