use std::time::Duration;

use super::*;

#[test]
fn every_field_is_there() {
    let took = |count, nanoseconds| DurationStatistic { count, total: Duration::from_nanos(nanoseconds) };
    let full = ModelStatistics {
        name: "m".into(),
        version: 3,
        last_inference: Duration::from_micros(1_700_000_000_123_999),
        inference_count: 4,
        execution_count: 2,
        inference: InferenceStatistics { success: took(4, 40), cache_miss: took(1, 7), ..Default::default() },
        responses: [
            (0, ResponseStatistics { success: took(2, 9), ..Default::default() }),
            (1, Default::default()),
        ]
        .into(),
        batches: vec![BatchStatistics { batch_size: 2, compute_infer: took(2, 30), ..Default::default() }],
    };
    let empty = ModelStatistics { name: "n".into(), version: 1, ..Default::default() };
    let json: serde_json::Value = serde_json::from_slice(&statistics(&[full, empty])).unwrap();
    let zero = serde_json::json!({"count": 0, "ns": 0});
    let full = &json["model_stats"][0];
    let empty = &json["model_stats"][1];
    assert_eq!(full["last_inference"], 1_700_000_000_123_u64);
    assert_eq!(full["inference_stats"]["success"], serde_json::json!({"count": 4, "ns": 40}));
    assert_eq!(full["inference_stats"]["cache_miss"]["ns"], 7);
    assert_eq!(full["response_stats"]["0"]["success"]["count"], 2);
    assert_eq!(full["response_stats"]["1"]["cancel"], zero);
    assert_eq!(full["batch_stats"][0]["batch_size"], 2);
    assert_eq!(full["batch_stats"][0]["compute_infer"]["ns"], 30);
    assert_eq!(
        empty,
        &serde_json::json!({
            "name": "n", "version": "1", "last_inference": 0, "inference_count": 0, "execution_count": 0,
            "inference_stats": {
                "success": zero, "fail": zero, "queue": zero, "compute_input": zero, "compute_infer": zero,
                "compute_output": zero, "cache_hit": zero, "cache_miss": zero,
            },
            "response_stats": {}, "batch_stats": [], "memory_usage": [],
        })
    );
}
