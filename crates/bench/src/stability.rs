/// What one window measured, as far as stability goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowFigures {
    /// Answered requests per second.
    pub throughput: f64,
    /// The watched latency percentile, in any unit.
    pub latency: f64,
}

/// Whether to measure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another window is needed.
    Continue,
    /// The last windows agree.
    Stable,
    /// No more windows are allowed, and the last ones do not agree.
    Unstable,
}

/// Decides when a level has been measured long enough: once the last `agreeing` windows lie within `tolerance` of each
/// other, in throughput and in latency. No clock inside.
#[derive(Debug, Clone)]
pub struct Stability {
    agreeing: usize,
    tolerance: f64,
    max_windows: usize,
    windows: Vec<WindowFigures>,
}

impl Stability {
    /// `tolerance` is a fraction: 0.1 lets the largest of the last windows be 10 % above the smallest.
    /// At least one window is measured, and at least `agreeing` if `max_windows` allows.
    #[must_use]
    pub fn new(agreeing: usize, tolerance: f64, max_windows: usize) -> Self {
        Self {
            agreeing: agreeing.max(1),
            tolerance,
            max_windows: max_windows.max(1),
            windows: Vec::new(),
        }
    }

    /// Takes one more window.
    pub fn push(&mut self, window: WindowFigures) -> Verdict {
        self.windows.push(window);
        if self.agrees() {
            Verdict::Stable
        } else if self.windows.len() >= self.max_windows {
            Verdict::Unstable
        } else {
            Verdict::Continue
        }
    }

    fn agrees(&self) -> bool {
        let Some(start) = self.windows.len().checked_sub(self.agreeing) else {
            return false;
        };
        let last = &self.windows[start..];
        let close = |figure: fn(&WindowFigures) -> f64| {
            let least = last.iter().map(figure).fold(f64::INFINITY, f64::min);
            let most = last.iter().map(figure).fold(0.0, f64::max);
            least > 0.0 && most <= least * (1.0 + self.tolerance)
        };
        close(|window| window.throughput) && close(|window| window.latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(stability: &mut Stability, windows: &[(f64, f64)]) -> Vec<Verdict> {
        windows
            .iter()
            .map(|&(throughput, latency)| stability.push(WindowFigures { throughput, latency }))
            .collect()
    }

    #[test]
    fn the_last_three_must_agree_in_both_figures() {
        use Verdict::{Continue, Stable};
        let mut stability = Stability::new(3, 0.1, 10);
        let windows = [
            (100.0, 5.0),
            (200.0, 5.0),
            (205.0, 5.1),
            (210.0, 9.0),
            (201.0, 5.0),
            (204.0, 5.2),
            (203.0, 5.4),
        ];
        assert_eq!(
            verdicts(&mut stability, &windows),
            [Continue, Continue, Continue, Continue, Continue, Continue, Stable]
        );
    }

    #[test]
    fn a_bounded_number_of_windows_is_tried() {
        let mut stability = Stability::new(3, 0.1, 4);
        let windows = [(1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (8.0, 1.0)];
        assert_eq!(verdicts(&mut stability, &windows).last(), Some(&Verdict::Unstable));
    }

    #[test]
    fn windows_without_answers_never_agree() {
        let mut stability = Stability::new(2, 0.5, 3);
        let verdicts = verdicts(&mut stability, &[(0.0, 0.0); 3]);
        assert_eq!(verdicts, [Verdict::Continue, Verdict::Continue, Verdict::Unstable]);
    }

    #[test]
    fn fewer_windows_than_must_agree_end_unstable() {
        let mut stability = Stability::new(3, 0.1, 1);
        assert_eq!(verdicts(&mut stability, &[(1.0, 1.0)]), [Verdict::Unstable]);
    }
}
