use std::path::Path;

use adulis_types::{Change, TraceMoment};
use serde_json::Value;

use super::*;

const TIMESTAMPS: TraceLevels = TraceLevels { timestamps: true, tensors: false };

fn tracer(folder: &Path, mut options: TraceOptions) -> Tracer {
    options.file = folder.join("t.json");
    Tracer::new(options, &MetricRegistry::default())
}

fn on(rate: u32) -> TraceOptions {
    TraceOptions { levels: TIMESTAMPS, rate, ..TraceOptions::default() }
}

/// Asks for a model so many times, and tells which of the requests are traced.
fn sampled(tracer: &Tracer, model: &str, requests: usize) -> Vec<usize> {
    let is_chosen =
        |_: &usize| tracer.sample(model).map(|trace| trace.note(TraceMoment::RequestStart)).is_some();
    (1..=requests).filter(is_chosen).collect()
}

/// The models of the traces in a file, in their order.
fn models(path: &Path) -> Vec<String> {
    let objects: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    objects
        .iter()
        .filter_map(|object| Some(object.get("model_name")?.as_str()?.to_owned()))
        .collect()
}

#[test]
fn one_in_so_many_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let tracer = tracer(folder.path(), on(3));
    assert_eq!(sampled(&tracer, "m", 7), [3, 6]);
    drop(tracer);
    assert_eq!(models(&folder.path().join("t.json")), ["m", "m"]);
}

#[test]
fn what_is_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tracer = tracer(folder.path(), TraceOptions::default());
    assert!(!tracer.is_tracing());
    assert_eq!(sampled(&tracer, "m", 3000), [0; 0]);
    drop(tracer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_number_of_traces_ends_and_is_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let tracer = tracer(folder.path(), TraceOptions { count: Some(2), ..on(1) });
    assert_eq!(tracer.trace_settings(None).count, Some(2));
    assert_eq!(sampled(&tracer, "m", 9), [1, 2]);
    assert!(!tracer.is_tracing());
    assert_eq!(tracer.trace_settings(Some("m")).count, Some(0));
    let again = TraceUpdate { count: Change::Set(Some(1)), ..TraceUpdate::default() };
    assert_eq!(tracer.update_trace_settings(None, &again).unwrap().count, Some(1));
    assert_eq!(sampled(&tracer, "n", 9), [1]);
    drop(tracer);
    assert_eq!(models(&folder.path().join("t.json.0")), ["m", "m"]);
    assert_eq!(models(&folder.path().join("t.json.1")), ["n"]);
    assert!(!folder.path().join("t.json").exists());
}

#[test]
fn what_is_left_survives_other_changes() {
    let folder = tempfile::tempdir().unwrap();
    let tracer = tracer(folder.path(), TraceOptions { count: Some(5), ..on(1) });
    assert_eq!(sampled(&tracer, "m", 2), [1, 2]);
    let rate = TraceUpdate { rate: Change::Set(2), ..TraceUpdate::default() };
    assert_eq!(tracer.update_trace_settings(None, &rate).unwrap().count, Some(3));
    let clear = TraceUpdate { count: Change::Clear, ..TraceUpdate::default() };
    assert_eq!(tracer.update_trace_settings(None, &clear).unwrap().count, Some(5));
}

#[test]
fn a_model_has_its_own_and_falls_back() {
    let folder = tempfile::tempdir().unwrap();
    let tracer = tracer(folder.path(), TraceOptions { log_frequency: 2, ..TraceOptions::default() });
    let own = TraceUpdate { levels: Change::Set(TIMESTAMPS), rate: Change::Set(2), ..TraceUpdate::default() };
    let told = tracer.update_trace_settings(Some("own"), &own).unwrap();
    assert_eq!((told.levels, told.rate, told.log_frequency), (TIMESTAMPS, 2, 2));
    assert!(tracer.is_tracing());
    assert_eq!(sampled(&tracer, "own", 6), [2, 4, 6]);
    assert_eq!(sampled(&tracer, "other", 3000), [0; 0]);
    // The server's settings change below it.
    let frequency = TraceUpdate { log_frequency: Change::Set(7), ..TraceUpdate::default() };
    tracer.update_trace_settings(None, &frequency).unwrap();
    assert_eq!(tracer.trace_settings(Some("own")).log_frequency, 7);
    let clear = TraceUpdate { levels: Change::Clear, rate: Change::Clear, ..TraceUpdate::default() };
    tracer.update_trace_settings(Some("own"), &clear).unwrap();
    assert_eq!(tracer.trace_settings(Some("own")), tracer.trace_settings(None));
    assert!(!tracer.is_tracing());
    drop(tracer);
    assert_eq!(models(&folder.path().join("t.json.0")), ["own", "own"]);
    assert_eq!(models(&folder.path().join("t.json.1")), ["own"]);
}

#[test]
fn without_a_file_it_cannot_be_switched_on() {
    let tracer = Tracer::new(TraceOptions::default(), &MetricRegistry::default());
    let on = TraceUpdate { levels: Change::Set(TIMESTAMPS), ..TraceUpdate::default() };
    let error = tracer.update_trace_settings(None, &on).unwrap_err();
    assert!(error.to_string().contains("without a trace file"), "{error}");
    assert_eq!(tracer.trace_settings(None).levels, TraceLevels::OFF);
}

#[test]
fn what_cannot_be_written_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = MetricRegistry::default();
    let tracer = Tracer::new(TraceOptions { file: folder.path().join("gone/t"), ..on(1) }, &metrics);
    assert_eq!(sampled(&tracer, "m", 3), [1, 2, 3]);
    drop(tracer);
    let text = metrics.render(crate::MetricsFormat::OpenMetrics);
    assert!(text.contains("\nadulis_traces_dropped_total 3\n"), "{text}");
    assert!(text.contains("\nadulis_traces_written_total 0\n"), "{text}");
}
