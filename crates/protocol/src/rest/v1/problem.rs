use adulis_types::Name;

/// What is wrong with the rows or columns of a V1 request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PredictProblem {
    /// There is no data.
    #[error("missing 'instances' or 'inputs'")]
    NoForm,
    /// Data came in both formats.
    #[error("expected either 'instances' or 'inputs', got both")]
    TwoForms,
    /// There are no rows.
    #[error("'instances' is empty: expected one at least")]
    NoInstances,
    /// A row lacks an input that it must have: that the model needs, or that other rows have.
    #[error("instance {index}: missing input '{input}'")]
    MissingInput {
        /// The row.
        index: usize,
        /// The input.
        input: Name,
    },
    /// The model has no such input.
    #[error("unknown input '{input}': expected {expected}")]
    UnknownInput {
        /// The name that came.
        input: Name,
        /// The inputs that there are.
        expected: String,
    },
    /// Data without a name, where the model has several inputs or none.
    #[error("expected an object with {expected} as its keys: only the data of a single input needs no name")]
    NoNames {
        /// The inputs that there are.
        expected: String,
    },
    /// Lists that lie side by side differ in length.
    #[error("input '{input}': expected lists of one length along dimension {axis}, got {first} and {other}")]
    Uneven {
        /// The input.
        input: Name,
        /// The dimension.
        axis: usize,
        /// Length of the first list.
        first: usize,
        /// Length of another.
        other: usize,
    },
    /// Values and lists lie side by side, or a list is deeper than others.
    #[error(
        "input '{input}': expected all elements equally deep in lists, got one at depth {first} and {got} at depth {depth}"
    )]
    Depth {
        /// The input.
        input: Name,
        /// Depth of the first element.
        first: usize,
        /// What came.
        got: &'static str,
        /// Its depth.
        depth: usize,
    },
}
