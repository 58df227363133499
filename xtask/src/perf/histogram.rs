//! Quantiles of what a server's Prometheus histograms counted between two looks.

/// The counts of a histogram: the upper end of each bucket, and how many observations lay at or below it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    /// Of all series of the metric `name` whose labels include `label` (`name="value"`), added up.
    pub(super) fn read(text: &str, name: &str, label: &str) -> Self {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (end, count) in text.lines().filter_map(|line| bucket(line, name, label)) {
            match buckets.iter_mut().find(|(known, _)| *known == end) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((end, count)),
            }
        }
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Self(buckets)
    }

    /// What was observed since an earlier look, at which there may have been no series yet.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before =
            |end: f64| earlier.0.iter().find(|(known, _)| *known == end).map_or(0.0, |(_, count)| *count);
        Self(self.0.iter().map(|&(end, count)| (end, count - before(end))).collect())
    }

    /// The value that this share of the observations does not exceed; `None` where there are none.
    ///
    /// Within a bucket observations are taken as evenly spread, as Prometheus' `histogram_quantile` does.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.0.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let rank = share * all;
        let place = self.0.iter().position(|(_, count)| *count >= rank)?;
        let (start, below) = if place == 0 { (0.0, 0.0) } else { self.0[place - 1] };
        let (end, count) = self.0[place];
        if end.is_infinite() || count <= below {
            return Some(start);
        }
        Some(start + (end - start) * (rank - below) / (count - below))
    }
}

/// End and count of a line that is a bucket of this metric with this label.
fn bucket(line: &str, name: &str, label: &str) -> Option<(f64, f64)> {
    let labels = line.strip_prefix(name)?.strip_prefix("_bucket{").filter(|rest| rest.contains(label))?;
    let (end, _) = labels.split_once("le=\"")?.1.split_once('"')?;
    // Labels may hold spaces; nothing follows the value.
    let (_, count) = labels.rsplit_once(' ')?;
    Some((end.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE wait_seconds histogram
wait_seconds_sum{pool=\"redis\"} 3.5
wait_seconds_count{pool=\"redis\"} 100
wait_seconds_bucket{le=\"0.001\",pool=\"redis\"} 50
wait_seconds_bucket{le=\"0.002\",pool=\"redis\"} 90
wait_seconds_bucket{le=\"+Inf\",pool=\"redis\"} 100
wait_seconds_bucket{le=\"0.001\",pool=\"memcached 127.0.0.1:1\"} 7
wait_seconds_bucket{le=\"+Inf\",pool=\"memcached 127.0.0.1:1\"} 7
";

    #[test]
    fn quantiles_lie_within_buckets() {
        let redis = Histogram::read(TEXT, "wait_seconds", "pool=\"redis\"");
        assert_eq!(redis.quantile(0.25), Some(0.0005));
        assert_eq!(redis.quantile(0.7), Some(0.0015));
        assert_eq!(redis.quantile(0.99), Some(0.002), "no bucket says how far above");
        assert_eq!(Histogram::read(TEXT, "wait_seconds", "pool=\"store\"").quantile(0.5), None);
    }

    #[test]
    fn only_what_came_since_counts() {
        let now = Histogram::read(TEXT, "wait_seconds", "pool=\"redis\"");
        let earlier = Histogram::read(
            "wait_seconds_bucket{pool=\"redis\",le=\"0.001\"} 50\nwait_seconds_bucket{pool=\"redis\",le=\"0.002\"} 50\n\
             wait_seconds_bucket{pool=\"redis\",le=\"+Inf\"} 50\n",
            "wait_seconds",
            "pool=\"redis\"",
        );
        assert_eq!(now.since(&earlier).quantile(0.4), Some(0.0015));
        assert_eq!(now.since(&Histogram::default()), now);
        assert_eq!(now.since(&now).quantile(0.5), None);
    }

    #[test]
    fn series_of_one_metric_are_added() {
        let both = Histogram::read(TEXT, "wait_seconds", "pool=");
        assert_eq!(both.0[0], (0.001, 57.0));
    }
}
