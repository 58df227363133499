use super::entries::weight;
use crate::ShapeBucket;

/// What waits, by the size of its rows. Requests of no bucket are not in it, so that a model whose rows are all of one size pays
/// nothing for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mix(Vec<(ShapeBucket, Waiting)>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Waiting {
    requests: usize,
    rows: usize,
}

impl Mix {
    /// Of nothing.
    pub(crate) const EMPTY: &'static Self = &Self(Vec::new());

    /// Each bucket of which something waits, with requests and rows; an empty request counts as one.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (ShapeBucket, (usize, usize))> {
        self.0.iter().map(|(bucket, waiting)| (*bucket, (waiting.requests, waiting.rows)))
    }

    pub(crate) fn add(&mut self, bucket: ShapeBucket, rows: usize) {
        if bucket == ShapeBucket::NONE {
            return;
        }
        let index = self.0.iter().position(|(other, _)| *other == bucket).unwrap_or_else(|| {
            self.0.push((bucket, Waiting::default()));
            self.0.len() - 1
        });
        let waiting = &mut self.0[index].1;
        waiting.requests += 1;
        waiting.rows += weight(rows);
    }

    pub(crate) fn take(&mut self, bucket: ShapeBucket, rows: usize) {
        let Some(index) = self.0.iter().position(|(other, _)| *other == bucket) else {
            return;
        };
        let waiting = &mut self.0[index].1;
        waiting.requests -= 1;
        waiting.rows -= weight(rows);
        if waiting.requests == 0 {
            self.0.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_counted_no_more() {
        let (one, other) = (ShapeBucket::of(1), ShapeBucket::of(9));
        let mut mix = Mix::default();
        mix.add(ShapeBucket::NONE, 5);
        assert_eq!(&mix, Mix::EMPTY);
        mix.add(one, 0);
        mix.add(other, 4);
        mix.add(other, 2);
        assert_eq!(mix.buckets().collect::<Vec<_>>(), [(one, (1, 1)), (other, (2, 6))]);
        mix.take(one, 0);
        mix.take(other, 2);
        assert_eq!(mix.buckets().collect::<Vec<_>>(), [(other, (1, 4))]);
        mix.take(ShapeBucket::NONE, 5);
        mix.take(other, 4);
        assert_eq!(&mix, Mix::EMPTY);
    }
}
