use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::MetricRegistry;

/// The shortest time that a utilisation is measured over; scrapes that come sooner are told the last one.
const INTERVAL: Duration = Duration::from_secs(1);

/// CPU and memory of the whole machine under Triton's names (`nv_cpu_…`). Read from `/proc/stat` and `/proc/meminfo` at
/// each scrape; where these are not there, the metrics are not there.
///
/// Source: Triton's `docs/user_guide/metrics.md`, CPU metrics.
#[derive(Debug)]
pub struct HostMetrics(Mutex<Option<Utilization>>);

impl HostMetrics {
    /// Registers them. The first scrape tells the utilisation since now.
    pub fn register(registry: &MetricRegistry) {
        let start = read("/proc/stat", Ticks::parse).map(Utilization::start);
        registry.register_collector(Box::new(Self(Mutex::new(start))));
    }
}

/// The share of time that the CPUs were busy, between two looks.
#[derive(Debug)]
struct Utilization {
    ticks: Ticks,
    at: Instant,
    share: f64,
}

impl Utilization {
    fn start(ticks: Ticks) -> Self {
        Self { ticks, at: Instant::now(), share: 0.0 }
    }

    fn look(&mut self, ticks: Ticks, now: Instant) -> f64 {
        let share = ticks.busy_since(&self.ticks);
        if let Some(share) = share.filter(|_| now.saturating_duration_since(self.at) >= INTERVAL) {
            *self = Self { ticks, at: now, share };
        } else if self.share == 0.0 {
            return share.unwrap_or(0.0);
        }
        self.share
    }
}

/// Time of all CPUs since the machine was started, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    /// The line `cpu  user nice system idle iowait irq softirq steal guest guest_nice`; a guest's time is in its user's.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
        let idle = ticks.get(3)? + ticks.get(4).copied().unwrap_or(0);
        Some(Self { idle, all: ticks.iter().sum() })
    }

    /// `None` where no time has passed.
    #[expect(clippy::cast_precision_loss, reason = "a share of a few thousand ticks")]
    fn busy_since(&self, earlier: &Self) -> Option<f64> {
        let all = self.all.checked_sub(earlier.all).filter(|all| *all > 0)?;
        let idle = self.idle.saturating_sub(earlier.idle).min(all);
        Some((all - idle) as f64 / all as f64)
    }
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    used: u64,
}

impl Memory {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let kilobytes = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let total = kilobytes("MemTotal:")? * 1024;
        let available = kilobytes("MemAvailable:")? * 1024;
        Some(Self { total, used: total.saturating_sub(available) })
    }
}

pub(crate) fn read<T>(file: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    parse(&fs::read_to_string(file).ok()?)
}

impl Collector for HostMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let (Some(ticks), Some(utilization)) = (read("/proc/stat", Ticks::parse), &mut *self.0.lock()) {
            let gauge = ConstGauge::new(utilization.look(ticks, Instant::now()));
            let help = "Share of time that the machine's CPUs were busy, 0 to 1";
            gauge.encode(encoder.encode_descriptor(
                "nv_cpu_utilization",
                help,
                None,
                gauge.metric_type(),
            )?)?;
        }
        let Some(Memory { total, used }) = read("/proc/meminfo", Memory::parse) else {
            return Ok(());
        };
        for (name, help, value) in [
            ("nv_cpu_memory_total_bytes", "The machine's memory", total),
            ("nv_cpu_memory_used_bytes", "What of it is not available", used),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetricsFormat;

    #[test]
    fn the_machine_is_told() {
        let registry = MetricRegistry::default();
        HostMetrics::register(&registry);
        let text = registry.render(MetricsFormat::Text);
        let value = |name: &str| {
            let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            sample.unwrap_or_else(|| panic!("{name} is missing in {text}")).parse::<f64>().unwrap()
        };
        assert!((0.0..=1.0).contains(&value("nv_cpu_utilization")));
        let (total, used) = (value("nv_cpu_memory_total_bytes"), value("nv_cpu_memory_used_bytes"));
        assert!(0.0 < used && used < total, "{used} of {total}");
    }

    #[test]
    fn utilization_is_that_of_the_last_interval() {
        let ticks = |busy: u64, idle: u64| Ticks { idle, all: busy + idle };
        let start = Instant::now();
        let mut utilization = Utilization { ticks: ticks(100, 100), at: start, share: 0.0 };
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let shares = [
            // Nothing has been measured yet: what there is so far.
            (utilization.look(ticks(130, 110), at(400)), 0.75),
            (utilization.look(ticks(150, 150), at(1000)), 0.5),
            // Too soon after that.
            (utilization.look(ticks(250, 150), at(1500)), 0.5),
            (utilization.look(ticks(250, 250), at(2000)), 0.5),
            (utilization.look(ticks(250, 350), at(3000)), 0.0),
        ];
        for (told, expected) in shares {
            assert!((told - expected).abs() < 1e-9, "told {told}, expected {expected}");
        }
    }

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "cpu  10 1 5 80 4 0 2 1 3 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(Ticks::parse(stat), Some(Ticks { idle: 84, all: 103 }));
        assert_eq!(Ticks::parse("intr 5\n"), None);
        let meminfo = "MemTotal:       1000 kB\nMemFree:  100 kB\nMemAvailable:    600 kB\n";
        assert_eq!(Memory::parse(meminfo), Some(Memory { total: 1_024_000, used: 409_600 }));
        assert_eq!(Memory::parse("MemTotal: 5 kB\n"), None);
    }
}
