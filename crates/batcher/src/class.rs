use smallvec::SmallVec;

use crate::ShapeBucket;

/// What requests must have in common to share a batch: two requests do only if their classes are equal.
///
/// The class holds the words themselves, not a hash of them, so that two requests that differ can never meet in one
/// batch. What the words mean is the caller's affair; typically, per input, its index, its rank and every dimension
/// but the first. Up to eight words take no allocation.
///
/// The rows of a class are of one size, as far as that is told: see [`Self::in_bucket`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ShapeClass {
    words: SmallVec<[u64; 8]>,
    bucket: ShapeBucket,
}

impl ShapeClass {
    /// The class described by `words`, in their order.
    pub fn new(words: impl IntoIterator<Item = u64>) -> Self {
        words.into_iter().collect()
    }

    /// The same, of rows of this size.
    #[must_use]
    pub fn in_bucket(self, bucket: ShapeBucket) -> Self {
        Self { bucket, ..self }
    }

    /// How large its rows are.
    #[must_use]
    pub fn bucket(&self) -> ShapeBucket {
        self.bucket
    }
}

impl FromIterator<u64> for ShapeClass {
    fn from_iter<I: IntoIterator<Item = u64>>(words: I) -> Self {
        Self { words: words.into_iter().collect(), bucket: ShapeBucket::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_equal_only_with_the_same_words_in_the_same_order() {
        assert_eq!(ShapeClass::new([1, 2]), [1, 2].into_iter().collect());
        assert_ne!(ShapeClass::new([1, 2]), ShapeClass::new([2, 1]));
        assert_ne!(ShapeClass::new([1, 2]), ShapeClass::new([1, 2, 0]));
        assert_ne!(ShapeClass::new(0..9), ShapeClass::new((0..8).chain([9])));
        assert_eq!(ShapeClass::new([]), ShapeClass::default());
        assert_ne!(ShapeClass::new([1]), ShapeClass::new([1]).in_bucket(ShapeBucket::of(1)));
    }
}
