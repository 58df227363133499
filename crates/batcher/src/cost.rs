mod lines;

use std::time::Duration;

use smallvec::SmallVec;

pub use lines::CostLines;
pub(crate) use lines::Per;

/// Observations that count.
const WINDOW: usize = 50;

/// Below this many observations, each leads to a new fit; from then on every [`REFIT_EVERY`]th.
const FIT_ALWAYS: usize = 16;

/// A fit costs about a microsecond, which a small model's every batch should not pay.
const REFIT_EVERY: u32 = 8;

/// Observations further than this many standard deviations from the resistant line do not count.
const CUTOFF: f64 = 3.0;

/// Standard deviations per median absolute deviation, for normal noise.
const DEVIATIONS_PER_MAD: f64 = 1.4826;

/// What a batch of n rows costs: a + b·n, fitted to the latest fifty observations, with a and b never negative.
///
/// # Outliers
/// A first line is drawn through the medians of the smaller and of the larger half of the batches (Brown and Mood).
/// Observations further from it than three standard deviations, estimated by the median absolute deviation, are left
/// out; a least-squares line through the others is the fit. So as long as fewer than half of the observations in either
/// half of the sizes are wild, their influence is bounded, however wild they are. A lasting change is followed once it
/// makes up most of the window.
///
/// If all batches had the same size, nothing is known about others, and the estimate is the same for every size.
///
/// After the first sixteen observations, the fit is made anew at every eighth.
///
/// Sources: least squares over the last 50 batches as in BentoML's CorkDispatcher; G. W. Brown, A. M. Mood, "On Median
/// Tests for Linear Hypotheses", Second Berkeley Symposium, 1951.
#[derive(Debug, Clone)]
pub struct CostModel {
    ring: [Point; WINDOW],
    len: usize,
    next: usize,
    since_fit: u32,
    line: Line,
    deviation_seconds: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Point {
    rows: f64,
    seconds: f64,
}

/// seconds = base + slope · rows
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Line {
    base: f64,
    slope: f64,
}

impl Default for CostModel {
    fn default() -> Self {
        Self::new()
    }
}

impl CostModel {
    /// A model that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ring: [Point::default(); WINDOW],
            len: 0,
            next: 0,
            since_fit: 0,
            line: Line::default(),
            deviation_seconds: 0.0,
        }
    }

    /// A batch of `rows` took `took`.
    pub fn observe(&mut self, rows: usize, took: Duration) {
        self.ring[self.next] = Point { rows: rows as f64, seconds: took.as_secs_f64() };
        self.next = (self.next + 1) % WINDOW;
        self.len = (self.len + 1).min(WINDOW);
        self.since_fit += 1;
        if self.len <= FIT_ALWAYS || self.since_fit >= REFIT_EVERY {
            self.fit();
        }
    }

    /// Observations that count: at most fifty.
    #[must_use]
    pub fn observations(&self) -> usize {
        self.len
    }

    /// How long a batch of `rows` will take; `None` before the first observation.
    #[must_use]
    pub fn estimate(&self, rows: usize) -> Option<Duration> {
        (self.len > 0).then(|| duration(self.line.at(rows as f64)))
    }

    /// The longest of the observations that count, whatever its size, outliers included.
    #[must_use]
    pub fn recent_max(&self) -> Option<Duration> {
        let seconds = self.points().iter().map(|point| point.seconds);
        seconds.reduce(f64::max).map(duration)
    }

    /// The standard deviation of observations around the estimate, outliers aside. Estimate and three times this is
    /// rarely exceeded.
    #[must_use]
    pub fn spread(&self) -> Option<Duration> {
        (self.len > 0).then(|| duration(self.deviation_seconds))
    }

    fn points(&self) -> &[Point] {
        &self.ring[..self.len]
    }

    fn fit(&mut self) {
        self.since_fit = 0;
        let points = self.points();
        let resistant = resistant_line(points);
        let deviation = deviation(points, resistant);
        // Rounding of the arithmetic itself must not turn exact observations into outliers.
        let limit = |point: &Point| CUTOFF * deviation + 1e-9 * point.seconds.abs() + 1e-12;
        let kept: Buffer<Point> =
            points.iter().filter(|point| resistant.residual(point) <= limit(point)).copied().collect();
        let line = least_squares(if kept.is_empty() { points } else { &kept });
        self.deviation_seconds = self::deviation(points, line);
        self.line = line;
    }
}

/// Room for a window on the stack.
type Buffer<P> = SmallVec<[P; 64]>;

impl Line {
    fn at(self, rows: f64) -> f64 {
        self.base + self.slope * rows
    }

    fn residual(self, point: &Point) -> f64 {
        (point.seconds - self.at(point.rows)).abs()
    }

    fn squares(self, points: &[Point]) -> f64 {
        points.iter().map(|point| self.residual(point).powi(2)).sum()
    }
}

/// The line through the medians of the smaller and of the larger batches; flat where all are of one size.
fn resistant_line(points: &[Point]) -> Line {
    let middle = median(points.iter().map(|point| point.rows));
    let (mut small, mut large): (Buffer<Point>, Buffer<Point>) =
        points.iter().copied().partition(|point| point.rows <= middle);
    if large.is_empty() {
        (small, large) = points.iter().copied().partition(|point| point.rows < middle);
    }
    let (from, to) = (centre(&small), centre(&large));
    let slope = match small.is_empty() {
        true => 0.0,
        false => ((to.seconds - from.seconds) / (to.rows - from.rows)).max(0.0),
    };
    let base = median(points.iter().map(|point| point.seconds - slope * point.rows));
    Line { base, slope }
}

fn centre(points: &[Point]) -> Point {
    Point {
        rows: median(points.iter().map(|point| point.rows)),
        seconds: median(points.iter().map(|point| point.seconds)),
    }
}

/// The standard deviation around the line, estimated by the median absolute deviation.
fn deviation(points: &[Point], line: Line) -> f64 {
    DEVIATIONS_PER_MAD * median(points.iter().map(|point| line.residual(point)))
}

/// The median; 0 of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Buffer<f64> = values.collect();
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    match even {
        true => f64::midpoint(below.iter().copied().fold(f64::MIN, f64::max), upper),
        false => upper,
    }
}

/// The line of least squares among those with non-negative base and slope.
fn least_squares(points: &[Point]) -> Line {
    let count = points.len() as f64;
    let rows = points.iter().map(|point| point.rows).sum::<f64>() / count;
    let seconds = points.iter().map(|point| point.seconds).sum::<f64>() / count;
    let (mut variance, mut covariance) = (0.0, 0.0);
    for point in points {
        variance += (point.rows - rows).powi(2);
        covariance += (point.rows - rows) * (point.seconds - seconds);
    }
    let flat = Line { base: seconds, slope: 0.0 };
    if variance == 0.0 {
        return flat;
    }
    let slope = covariance / variance;
    let free = Line { base: seconds - slope * rows, slope };
    if free.base >= 0.0 && free.slope >= 0.0 {
        return free;
    }
    // The best line then lies on one of the two bounds.
    let through_zero = Line { base: 0.0, slope: through_zero(points) };
    match flat.squares(points) <= through_zero.squares(points) {
        true => flat,
        false => through_zero,
    }
}

fn through_zero(points: &[Point]) -> f64 {
    let products: f64 = points.iter().map(|point| point.rows * point.seconds).sum();
    let squares: f64 = points.iter().map(|point| point.rows.powi(2)).sum();
    products / squares
}

/// Seconds as a duration, held within what one can express.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
