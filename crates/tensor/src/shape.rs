use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

/// The shape of a tensor that exists: every dimension is known. Rank 0 is a scalar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallVec<[usize; 4]>);

impl Shape {
    /// A shape of these dimensions.
    #[must_use]
    pub fn new(dimensions: &[usize]) -> Self {
        Self(SmallVec::from_slice(dimensions))
    }

    /// The number of elements (1 for rank 0), or `None` where it overflows.
    #[must_use]
    pub fn elements(&self) -> Option<usize> {
        self.0.iter().try_fold(1_usize, |product, &dimension| product.checked_mul(dimension))
    }

    /// The same shape with another leading dimension. A rank-0 shape stays as it is.
    #[must_use]
    pub fn with_rows(&self, rows: usize) -> Self {
        let mut shape = self.clone();
        if let Some(first) = shape.0.first_mut() {
            *first = rows;
        }
        shape
    }

    /// The leading dimension, if there is one.
    #[must_use]
    pub fn rows(&self) -> Option<usize> {
        self.0.first().copied()
    }

    /// The dimensions after the leading one.
    #[must_use]
    pub fn row_dimensions(&self) -> &[usize] {
        self.0.get(1..).unwrap_or(&[])
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(dimensions: I) -> Self {
        Self(dimensions.into_iter().collect())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dimensions: [usize; N]) -> Self {
        Self::new(&dimensions)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_dimensions(f, self.0.iter())
    }
}

/// The shape that a model declares: -1 stands for any extent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ShapePattern(SmallVec<[i64; 4]>);

impl ShapePattern {
    /// A pattern of these dimensions; every negative one becomes -1.
    #[must_use]
    pub fn new(dimensions: &[i64]) -> Self {
        Self(dimensions.iter().map(|&dimension| dimension.max(-1)).collect())
    }

    /// Whether `shape` has this rank and every fixed dimension.
    #[must_use]
    pub fn matches(&self, shape: &[usize]) -> bool {
        self.0.len() == shape.len()
            && self
                .0
                .iter()
                .zip(shape)
                .all(|(&want, &have)| want < 0 || usize::try_from(want) == Ok(have))
    }

    /// The pattern with `dimension` put before all others.
    #[must_use]
    pub fn prepend(&self, dimension: i64) -> Self {
        let mut dimensions = SmallVec::with_capacity(self.0.len() + 1);
        dimensions.push(dimension.max(-1));
        dimensions.extend_from_slice(&self.0);
        Self(dimensions)
    }

    /// The shape with every open dimension set to `extent`.
    #[must_use]
    pub fn fill(&self, extent: usize) -> Shape {
        self.0.iter().map(|&dimension| usize::try_from(dimension).unwrap_or(extent)).collect()
    }
}

impl Deref for ShapePattern {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.0
    }
}

impl fmt::Display for ShapePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_dimensions(f, self.0.iter())
    }
}

fn write_dimensions<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    dimensions: impl Iterator<Item = T>,
) -> fmt::Result {
    f.write_str("[")?;
    for (index, dimension) in dimensions.enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        write!(f, "{dimension}")?;
    }
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_overflow_checked() {
        assert_eq!(Shape::from([]).elements(), Some(1));
        assert_eq!(Shape::from([2, 0, 3]).elements(), Some(0));
        assert_eq!(Shape::from([usize::MAX, 2]).elements(), None);
    }

    #[test]
    fn patterns_match_rank_and_fixed_dimensions() {
        let pattern = ShapePattern::new(&[-1, 3]);
        assert!(pattern.matches(&[7, 3]));
        assert!(!pattern.matches(&[7, 4]));
        assert!(!pattern.matches(&[3]));
        assert_eq!(pattern.prepend(-1).to_string(), "[-1,-1,3]");
        assert_eq!(pattern.fill(2), Shape::from([2, 3]));
    }
}
