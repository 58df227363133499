use adulis_telemetry::{MetricRegistry, MetricsFormat};

/// The value of a sample of the metrics, named with its labels as the text form has them.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn metric(registry: &MetricRegistry, sample: &str) -> f64 {
    let text = registry.render(MetricsFormat::Text);
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
    assert!(value.is_some(), "{sample} is not in {text}");
    value.unwrap_or_default()
}
