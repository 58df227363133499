/// How large the rows of a batch are, as far as their number of elements tells: buckets of powers of two.
///
/// What a run of so many rows costs depends on it where rows may have any extent, as the tokens of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShapeBucket(u8);

impl ShapeBucket {
    /// Of a model whose rows are all of one size: none in particular.
    pub const NONE: Self = Self(0);

    /// How many there are beside [`Self::NONE`]. The last one has everything of 2³⁰ elements and more.
    pub const COUNT: usize = 32;

    /// That of rows with so many elements.
    #[must_use]
    pub fn of(elements: usize) -> Self {
        let bits = (usize::BITS - elements.leading_zeros()) as usize;
        // At least 1, and no more than there are.
        Self(u8::try_from(bits.min(Self::COUNT - 1)).unwrap_or(u8::MAX) + 1)
    }

    /// Its place among those that there are; none for [`Self::NONE`].
    pub(crate) fn index(self) -> Option<usize> {
        usize::from(self.0).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_begin_buckets() {
        let index = |elements| ShapeBucket::of(elements).index().unwrap();
        let cases = [
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 2),
            (4, 3),
            (7, 3),
            (8, 4),
            (1 << 29, 30),
            (1 << 30, 31),
            (usize::MAX, 31),
        ];
        for (elements, expected) in cases {
            assert_eq!(index(elements), expected, "{elements}");
        }
        assert_eq!(ShapeBucket::NONE.index(), None);
        assert_eq!(index(usize::MAX), ShapeBucket::COUNT - 1);
        assert_ne!(ShapeBucket::of(0), ShapeBucket::default());
    }
}
