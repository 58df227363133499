use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::MetricRegistry;

/// CPU time, memory, threads and descriptors of this process, under the names that every Prometheus client uses.
/// Read from `/proc/self` at each scrape; where that is not there, the metrics are not there.
#[derive(Debug)]
pub struct ProcessMetrics {
    start_seconds: f64,
}

/// Clock ticks per second in `/proc/self/stat`; fixed at 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

const PAGE_BYTES: f64 = 4096.0;

impl ProcessMetrics {
    /// Registers them, counting the process's age from now.
    pub fn register(registry: &MetricRegistry) {
        let start_seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        registry.register_collector(Box::new(Self { start_seconds }));
    }
}

struct Stat {
    cpu_seconds: f64,
    threads: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

fn read_stat() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The command name, in parentheses, may hold spaces: the fields are counted from behind it, where field 3 is first.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * PAGE_BYTES,
    })
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: f64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        gauge(
            "process_start_time_seconds",
            "Start of the process, seconds since 1970",
            self.start_seconds,
        )?;
        let Some(stat) = read_stat() else {
            return Ok(());
        };
        gauge("process_threads", "Operating system threads", stat.threads)?;
        gauge("process_virtual_memory_bytes", "Virtual memory", stat.virtual_bytes)?;
        gauge("process_resident_memory_bytes", "Resident memory", stat.resident_bytes)?;
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            gauge(
                "process_open_fds",
                "Open file descriptors",
                f64::from(u32::try_from(entries.count()).unwrap_or(u32::MAX)),
            )?;
        }
        let metric = ConstCounter::new(stat.cpu_seconds);
        metric.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "User and system CPU time",
            None,
            metric.metric_type(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn this_process_has_threads_and_memory() {
        let registry = MetricRegistry::default();
        ProcessMetrics::register(&registry);
        let text = registry.render(MetricsFormat::OpenMetrics);
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_threads",
            "process_open_fds",
        ] {
            assert!(text.contains(&format!("\n{name} ")), "{name} is missing in {text}");
        }
    }
}
