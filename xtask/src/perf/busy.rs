//! How much else goes on in the machine.

use std::fs;
use std::thread;
use std::time::Duration;

/// How long is looked. Nothing of ours works meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// Share of the cores that others use right now, 0 to 1; what a hypervisor takes away counts too. 0 where the system
/// doesn't tell.
pub(super) fn others() -> f64 {
    let before = Ticks::now();
    thread::sleep(LOOK);
    match (before, Ticks::now()) {
        (Some(before), Some(after)) => after.busy_since(&before),
        _ => 0.0,
    }
}

/// Clock ticks of all cores since the machine's start.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ticks {
    idle: f64,
    all: f64,
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user and nice.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<f64> =
            line.split_ascii_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some(Self { idle, all: ticks.iter().sum() })
    }

    fn busy_since(self, before: &Self) -> f64 {
        let all = self.all - before.all;
        if all > 0.0 { 1.0 - (self.idle - before.idle) / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_idle_is_busy() {
        let ticks = |text| Ticks::parse(text).unwrap();
        let before = ticks("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        let after = ticks("cpu  120 0 60 850 60 0 0 10 20 0\n");
        // 20 + 10 + 10 (stolen) of 100; guests count as user time already.
        assert!((after.busy_since(&before) - 0.4).abs() < 1e-9);
        assert!(after.busy_since(&after).abs() < 1e-9);
        assert_eq!(Ticks::parse("cpu  1 2\n"), None);
        assert_eq!(Ticks::parse(""), None);
    }
}
