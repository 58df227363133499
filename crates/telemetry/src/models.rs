use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;

use crate::{MetricRegistry, ModelLabels};

/// What is told of one model version at each scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelReport {
    /// The model.
    pub model: Arc<str>,
    /// Its version.
    pub version: u64,
    /// Its state: one of those that [`MetricRegistry::register_models`] was told.
    pub state: &'static str,
    /// How long loading and warm-up took, if it answers.
    pub load_time: Option<Duration>,
    /// What sequences it has, if its requests form sequences.
    pub sequences: Option<SequenceReport>,
}

/// Sequences of one model version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SequenceReport {
    /// With a slot of an instance.
    pub active: usize,
    /// Waiting for one.
    pub backlog: usize,
}

/// Metrics of what models there are, asked at each scrape, so that they cannot differ from what is: no series stays behind
/// when a model goes.
struct Models<F> {
    states: &'static [&'static str],
    report: F,
}

impl<F> fmt::Debug for Models<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").field("states", &self.states).finish_non_exhaustive()
    }
}

impl<F> Collector for Models<F>
where
    F: Fn() -> Vec<ModelReport> + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let reports = (self.report)();
        let in_state = |state: &str| {
            let count = reports.iter().filter(|report| report.state == state).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        let labels =
            |report: &ModelReport| ModelLabels { model: Arc::clone(&report.model), version: report.version };
        let states = self.states.iter().map(|state| ([("state", *state)], in_state(state)));
        gauge(&mut encoder, "adulis_models", "Model versions by state", states)?;
        let ready = reports.iter().map(|report| (labels(report), i64::from(report.load_time.is_some())));
        gauge(&mut encoder, "adulis_model_ready", "1 if the model version answers", ready)?;
        let times = reports
            .iter()
            .filter_map(|report| Some((labels(report), report.load_time?.as_secs_f64())));
        gauge(&mut encoder, "adulis_model_load_seconds", "Time that loading and warm-up took", times)?;
        let sequences = |count: fn(SequenceReport) -> usize| {
            let counted =
                reports.iter().filter_map(move |report| Some((labels(report), count(report.sequences?))));
            counted.map(|(labels, count)| (labels, i64::try_from(count).unwrap_or(i64::MAX)))
        };
        let active = sequences(|sequences| sequences.active);
        gauge(
            &mut encoder,
            "adulis_sequences_active",
            "Sequences that have a slot of an instance",
            active,
        )?;
        let backlog = sequences(|sequences| sequences.backlog);
        gauge(&mut encoder, "adulis_sequences_backlog", "Sequences that wait for a slot", backlog)
    }
}

fn gauge<L: EncodeLabelSet, V: prometheus_client::encoding::EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, V)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

impl MetricRegistry {
    /// Adds the metrics of what models there are. `states` are all that a report may have.
    pub fn register_models(
        &self,
        states: &'static [&'static str],
        report: impl Fn() -> Vec<ModelReport> + Send + Sync + 'static,
    ) {
        self.register_collector(Box::new(Models { states, report }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn models_are_asked_for_at_each_scrape() {
        let sequences = Some(SequenceReport { active: 3, backlog: 2 });
        let report = move |version, state, load_time: Option<Duration>| {
            let sequences = load_time.and(sequences);
            ModelReport { model: "m".into(), version, state, load_time, sequences }
        };
        let registry = MetricRegistry::default();
        registry.register_models(&["ready", "loading", "unloading"], move || {
            vec![
                report(1, "ready", Some(Duration::from_millis(1500))),
                report(2, "loading", None),
                report(3, "loading", None),
            ]
        });
        let text = registry.render(MetricsFormat::OpenMetrics);
        for line in [
            "adulis_models{state=\"ready\"} 1",
            "adulis_models{state=\"loading\"} 2",
            "adulis_models{state=\"unloading\"} 0",
            "adulis_model_ready{model=\"m\",version=\"1\"} 1",
            "adulis_model_ready{model=\"m\",version=\"2\"} 0",
            "adulis_model_load_seconds{model=\"m\",version=\"1\"} 1.5",
            "adulis_sequences_active{model=\"m\",version=\"1\"} 3",
            "adulis_sequences_backlog{model=\"m\",version=\"1\"} 2",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} is not in {text}");
        }
        assert!(!text.contains("adulis_model_load_seconds{model=\"m\",version=\"2\"}"), "{text}");
    }
}
