use smallvec::SmallVec;

/// What requests must have in common to share a batch: two requests do only if their classes are equal.
///
/// The class holds the words themselves, not a hash of them, so that two requests that differ can never meet in one
/// batch. What the words mean is the caller's affair; typically, per input, its index, its rank and every dimension
/// but the first. Up to eight words take no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ShapeClass(SmallVec<[u64; 8]>);

impl ShapeClass {
    /// The class described by `words`, in their order.
    pub fn new(words: impl IntoIterator<Item = u64>) -> Self {
        words.into_iter().collect()
    }
}

impl FromIterator<u64> for ShapeClass {
    fn from_iter<I: IntoIterator<Item = u64>>(words: I) -> Self {
        Self(words.into_iter().collect())
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
    }
}
