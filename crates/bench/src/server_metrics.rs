use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use url::Url;

use crate::client::Keep;
use crate::connect::{Connector, TlsArgs};
use crate::http1::Http1Client;
use crate::target::{Protocol, Target};

const STAGE_METRIC: &str = "adulis_inference_stage_duration_seconds";
const CPU_METRIC: &str = "process_cpu_seconds_total";

/// What the server's own metrics say at one moment, of one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// Per stage: sum in seconds and count since the server's start.
    stages: BTreeMap<String, (f64, f64)>,
    cpu_seconds: Option<f64>,
}

/// What the server's own metrics say of an interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ServerDelta {
    /// Per stage: seconds spent, and how many requests went through it.
    pub(crate) stages: BTreeMap<String, (f64, f64)>,
    /// CPU time of the server process.
    pub(crate) cpu_seconds: Option<f64>,
}

impl Snapshot {
    /// What happened from `earlier` to this one. A counter that fell, as after a restart, counts from zero.
    pub(crate) fn since(&self, earlier: &Self) -> ServerDelta {
        let grown = |now: f64, before: f64| if now < before { now } else { now - before };
        let stages = self
            .stages
            .iter()
            .map(|(stage, &(sum, count))| {
                let &(sum_before, count_before) = earlier.stages.get(stage).unwrap_or(&(0.0, 0.0));
                let delta = (grown(sum, sum_before), grown(count, count_before));
                (stage.clone(), delta)
            })
            .collect();
        let cpu_seconds = self.cpu_seconds.zip(earlier.cpu_seconds).map(|(now, before)| grown(now, before));
        ServerDelta { stages, cpu_seconds }
    }

    /// Reads the Prometheus text format, and of it only what is needed.
    ///
    /// Stages of other models are left out where `model` is given; those of its versions are added up.
    pub(crate) fn parse(text: &str, model: Option<&str>) -> Self {
        let mut snapshot = Self::default();
        for line in text.lines() {
            let Some((name, labels, value)) = split_sample(line) else {
                continue;
            };
            if name == CPU_METRIC && labels.is_empty() {
                snapshot.cpu_seconds = Some(value);
                continue;
            }
            let Some(kind) = name.strip_prefix(STAGE_METRIC) else {
                continue;
            };
            if model.is_some_and(|model| label(labels, "model").as_deref() != Some(model)) {
                continue;
            }
            let Some(stage) = label(labels, "stage") else {
                continue;
            };
            let entry = snapshot.stages.entry(stage).or_default();
            match kind {
                "_sum" => entry.0 += value,
                "_count" => entry.1 += value,
                _ => {}
            }
        }
        snapshot
    }
}

impl ServerDelta {
    /// Adds another interval.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (stage, (sum, count)) in &other.stages {
            let mine = self.stages.entry(stage.clone()).or_default();
            mine.0 += sum;
            mine.1 += count;
        }
        self.cpu_seconds = match (self.cpu_seconds, other.cpu_seconds) {
            (Some(mine), Some(theirs)) => Some(mine + theirs),
            (mine, theirs) => mine.or(theirs),
        };
    }
}

/// Name, label text and value of one line; `None` for comments and what is no sample.
fn split_sample(line: &str) -> Option<(&str, &str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let (name, labels, rest) = match line.find('{') {
        Some(open) => {
            let close = line.rfind('}')?;
            (&line[..open], line.get(open + 1..close)?, &line[close + 1..])
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, "", rest)
        }
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name, labels, value))
}

/// The value of label `wanted`, escapes undone.
fn label(labels: &str, wanted: &str) -> Option<String> {
    let mut rest = labels;
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next()? {
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (end, '"') => break end,
                (_, other) => value.push(other),
            }
        };
        if name.trim_start_matches([',', ' ']) == wanted {
            return Some(value);
        }
        rest = &after[end + 1..];
    }
}

/// Asks a server for its metrics again and again, over one connection.
pub(crate) struct MetricsProbe {
    url: String,
    client: Http1Client,
    request: Vec<u8>,
    model: Option<String>,
}

impl MetricsProbe {
    /// A probe of `url`, of which the stages of `model` are read.
    ///
    /// # Errors
    /// Where the URL is no `http://host[:port]/path` or `https://…`, or `tls` cannot be used.
    pub(crate) fn new(url: &str, tls: &TlsArgs, model: Option<&str>) -> anyhow::Result<Self> {
        ensure!(
            url.starts_with("http://") || url.starts_with("https://"),
            "the metrics URL `{url}` is not http://host[:port]/path"
        );
        let mut target = Target::parse(url, Some(Protocol::RestJson))
            .with_context(|| format!("cannot read the metrics URL `{url}`"))?;
        // Of metrics nobody has a port of its own in mind: HTTP's, where none is written.
        if let Some(port) = Url::parse(url).ok().and_then(|url| url.port_or_known_default()) {
            target.address = format!("{}:{port}", target.host);
        }
        let path = if target.base_path.is_empty() { "/metrics" } else { &target.base_path };
        let host = &target.address;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/plain\r\n\r\n");
        Ok(Self {
            url: url.to_owned(),
            client: Http1Client::new(Connector::new(&target, tls)?, Duration::from_secs(5)),
            request: request.into_bytes(),
            model: model.map(str::to_owned),
        })
    }

    /// What the server says now.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(crate) async fn snapshot(&mut self) -> anyhow::Result<Snapshot> {
        let answer = self
            .client
            .call(&self.request, Keep::Body)
            .await
            .with_context(|| format!("no metrics from {}", self.url))?;
        let text = String::from_utf8_lossy(&answer.body);
        Ok(Snapshot::parse(&text, self.model.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP adulis_inference_stage_duration_seconds Time per stage
# TYPE adulis_inference_stage_duration_seconds histogram
adulis_inference_stage_duration_seconds_sum{model="m",version="1",stage="queue"} 0.5
adulis_inference_stage_duration_seconds_count{model="m",version="1",stage="queue"} 100
adulis_inference_stage_duration_seconds_bucket{le="0.1",model="m",version="1",stage="queue"} 100
adulis_inference_stage_duration_seconds_sum{model="m",version="2",stage="queue"} 0.5
adulis_inference_stage_duration_seconds_count{model="m",version="2",stage="queue"} 100
adulis_inference_stage_duration_seconds_sum{model="a \"}, b",version="1",stage="queue"} 7
process_cpu_seconds_total 12.5
broken{ 1
# EOF
"#;

    #[test]
    fn stages_of_one_model_and_cpu() {
        let snapshot = Snapshot::parse(TEXT, Some("m"));
        assert_eq!(snapshot.stages["queue"], (1.0, 200.0));
        assert_eq!(snapshot.cpu_seconds, Some(12.5));
        let odd = Snapshot::parse(TEXT, Some("a \"}, b"));
        assert_eq!(odd.stages["queue"], (7.0, 0.0));
    }

    #[test]
    fn deltas_survive_a_restart_of_the_server() {
        let early = Snapshot::parse(TEXT, Some("m"));
        let late = Snapshot {
            stages: BTreeMap::from([
                ("queue".to_owned(), (3.0, 300.0)),
                ("total".to_owned(), (1.0, 2.0)),
            ]),
            cpu_seconds: Some(2.0),
        };
        let mut delta = late.since(&early);
        assert_eq!(delta.stages["queue"], (2.0, 100.0));
        assert_eq!(delta.stages["total"], (1.0, 2.0));
        assert_eq!(delta.cpu_seconds, Some(2.0));
        delta.merge(&delta.clone());
        assert_eq!(delta.stages["queue"], (4.0, 200.0));
        assert_eq!(delta.cpu_seconds, Some(4.0));
    }

    proptest::proptest! {
        #[test]
        fn no_text_does_harm(text in "(adulis_inference_stage_duration_seconds_sum|[a-z\\{\\}\"=,\\\\# 0-9\n]){0,12}") {
            let _any = Snapshot::parse(&text, Some("m"));
            let _any = Snapshot::parse(&text, None);
        }
    }
}
