use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::Load;
use crate::measure::Window;
use crate::report::microseconds;

/// A line on standard error that says what is being measured; nothing where that is no terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Counts `levels` levels of load.
    pub(crate) fn new(levels: usize) -> Self {
        let bar = ProgressBar::new(levels as u64);
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] level {pos}/{len} {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    pub(crate) fn warming(&self, url: &str, load: Load) {
        self.0.set_message(format!("{}: warming {url} up", words(load)));
    }

    pub(crate) fn window(&self, load: Load, number: usize, window: &Window) {
        let latency = window.tally.latency();
        self.0.set_message(format!(
            "{}, window {number}: {:.0} requests/s, p50 {:.0} µs, p99 {:.0} µs, {} failed",
            words(load),
            window.requests_per_second(),
            microseconds(latency.percentile(50.0)),
            microseconds(latency.percentile(99.0)),
            window.tally.failed_count(),
        ));
    }

    pub(crate) fn level_done(&self) {
        self.0.inc(1);
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn words(load: Load) -> String {
    match load {
        Load::Concurrency(count) => format!("concurrency {count}"),
        Load::Rate(rate) => format!("{rate} requests/s"),
    }
}
