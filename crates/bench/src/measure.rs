use std::time::{Duration, Instant};

use crate::cpu::{own_cpu, process_cpu};
use crate::fleet::{Fleet, Mission, Tactics};
use crate::progress::Progress;
use crate::report::{Comparison, LevelReport, Subject, as_f64, microseconds};
use crate::server_metrics::{MetricsProbe, ServerDelta, Snapshot};
use crate::stability::{Stability, Verdict, WindowFigures};
use crate::tally::Tally;

/// What one window measured, or several together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
    pub(crate) server: Option<ServerDelta>,
    /// CPU time of the server, by its process id.
    pub(crate) server_cpu: Option<Duration>,
    /// CPU time of the load generator.
    pub(crate) own_cpu: Duration,
    /// Requests in flight at its end.
    pub(crate) in_flight: usize,
    /// How far the open loop was behind at its end.
    pub(crate) behind: Duration,
}

impl Window {
    /// Adds a later window.
    pub(crate) fn merge(&mut self, later: &Window) {
        self.tally.merge(later.tally.clone());
        self.elapsed += later.elapsed;
        if let Some(server) = &later.server {
            self.server.get_or_insert_default().merge(server);
        }
        if let Some(cpu) = later.server_cpu {
            *self.server_cpu.get_or_insert_default() += cpu;
        }
        self.own_cpu += later.own_cpu;
        self.in_flight = later.in_flight;
        self.behind = later.behind;
    }

    pub(crate) fn requests_per_second(&self) -> f64 {
        match self.elapsed.as_secs_f64() {
            seconds if seconds > 0.0 => as_f64(self.tally.answered()) / seconds,
            _ => 0.0,
        }
    }

    /// By process id where it is known, else as the server's metrics tell it.
    pub(crate) fn server_cpu_microseconds_per_request(&self) -> Option<f64> {
        let from_metrics = || self.server.as_ref()?.cpu_seconds;
        let seconds = self.server_cpu.map(|cpu| cpu.as_secs_f64()).or_else(from_metrics)?;
        let requests = as_f64(self.tally.answered());
        (requests > 0.0).then(|| seconds * 1e6 / requests)
    }
}

/// Lengths and numbers of windows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    pub(crate) warmup: Duration,
    pub(crate) interval: Duration,
    pub(crate) windows: usize,
    pub(crate) max_windows: usize,
    /// A fraction.
    pub(crate) tolerance: f64,
    pub(crate) percentile: f64,
}

/// One server, and what is known of it besides its answers.
pub(crate) struct Site {
    pub(crate) subject: Subject,
    pub(crate) mission: Mission,
    pub(crate) metrics: Option<MetricsProbe>,
    pub(crate) pid: Option<u32>,
}

impl Site {
    /// Lets `fleet`, which is sending, go on for one window.
    async fn window(&mut self, fleet: &Fleet, interval: Duration) -> anyhow::Result<Window> {
        let server_before = self.snapshot().await;
        let cpu_before = self.pid.map(process_cpu).transpose()?;
        let own_before = own_cpu();
        let _before_the_window = fleet.take();
        let began = Instant::now();
        tokio::time::sleep(interval).await;
        let tally = fleet.take();
        let elapsed = began.elapsed();
        let (in_flight, behind) = (fleet.busy(), fleet.behind());
        let own_cpu = own_cpu().saturating_sub(own_before);
        let server_cpu = match (self.pid.map(process_cpu).transpose()?, cpu_before) {
            (Some(after), Some(before)) => Some(after.saturating_sub(before)),
            _ => None,
        };
        let server = match (self.snapshot().await, server_before) {
            (Some(after), Some(before)) => Some(after.since(&before)),
            _ => None,
        };
        Ok(Window { tally, elapsed, server, server_cpu, own_cpu, in_flight, behind })
    }

    /// A server that stops telling its metrics is measured on without them, and not asked again.
    async fn snapshot(&mut self) -> Option<Snapshot> {
        let snapshot = self.metrics.as_mut()?.snapshot().await.ok();
        if snapshot.is_none() {
            self.metrics = None;
        }
        snapshot
    }
}

/// Measures one level of load until the windows agree.
///
/// # Errors
/// Where threads cannot be started, or the server process whose CPU time is wanted has gone.
pub(crate) async fn measure(
    site: &mut Site,
    tactics: Tactics,
    protocol: Protocol,
    progress: &Progress,
) -> anyhow::Result<LevelReport> {
    let fleet = Fleet::start(&site.mission, tactics)?;
    fleet.resume();
    progress.warming(&site.subject.url, tactics.load);
    tokio::time::sleep(protocol.warmup).await;
    let mut stability = Stability::new(protocol.windows, protocol.tolerance, protocol.max_windows);
    let mut windows = Vec::new();
    let verdict = loop {
        let window = site.window(&fleet, protocol.interval).await?;
        progress.window(tactics.load, windows.len() + 1, &window);
        let verdict = stability.push(WindowFigures {
            throughput: window.requests_per_second(),
            latency: microseconds(window.tally.latency().percentile(protocol.percentile)),
        });
        windows.push(window);
        if verdict != Verdict::Continue {
            break verdict;
        }
    };
    fleet.stop().await;
    let used = &windows[windows.len().saturating_sub(protocol.windows)..];
    let mut report = LevelReport::new(&site.subject, tactics.load, windows.len(), used);
    report.stable = verdict == Verdict::Stable;
    Ok(report)
}

/// How long a server works again before its window begins, after the other one had its turn.
const SETTLE: Duration = Duration::from_millis(200);

/// Measures two servers at one level of load, in windows A B A B. Only one of them has load at any time.
///
/// # Errors
/// As [`measure`].
pub(crate) async fn compare(
    sites: &mut [Site; 2],
    tactics: Tactics,
    protocol: Protocol,
    progress: &Progress,
) -> anyhow::Result<([LevelReport; 2], Option<Comparison>)> {
    let fleets = [
        Fleet::start(&sites[0].mission, tactics)?,
        Fleet::start(&sites[1].mission, tactics)?,
    ];
    for (site, fleet) in sites.iter().zip(&fleets) {
        progress.warming(&site.subject.url, tactics.load);
        fleet.resume();
        tokio::time::sleep(protocol.warmup).await;
        fleet.pause().await;
    }
    let mut windows = [Vec::new(), Vec::new()];
    for round in 1..=protocol.windows {
        for index in 0..sites.len() {
            fleets[index].resume();
            tokio::time::sleep(SETTLE).await;
            let window = sites[index].window(&fleets[index], protocol.interval).await?;
            fleets[index].pause().await;
            progress.window(tactics.load, round, &window);
            windows[index].push(window);
        }
    }
    for fleet in fleets {
        fleet.stop().await;
    }
    let reports = [0, 1].map(|index| {
        let windows = &windows[index];
        let mut report = LevelReport::new(&sites[index].subject, tactics.load, windows.len(), windows);
        report.stable = agree(windows, protocol);
        report
    });
    Ok((reports, Comparison::of(tactics.load, &windows)))
}

/// Whether all windows agree.
fn agree(windows: &[Window], protocol: Protocol) -> bool {
    let mut stability = Stability::new(windows.len(), protocol.tolerance, windows.len());
    let verdicts = windows.iter().map(|window| {
        stability.push(WindowFigures {
            throughput: window.requests_per_second(),
            latency: microseconds(window.tally.latency().percentile(protocol.percentile)),
        })
    });
    verdicts.last() == Some(Verdict::Stable)
}
