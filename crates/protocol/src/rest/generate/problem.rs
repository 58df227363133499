use adulis_tensor::ShapePattern;

use crate::TensorLabel;

/// What is wrong with the object of a generate request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateProblem {
    /// The model has an input of the name that holds parameters.
    #[error("keyword 'parameters' for a nested object is also the name of an input: ask `infer` instead")]
    ParametersInput,
    /// Values cannot be laid out as the model's shape wants it.
    #[error("{input}: {count} values cannot be laid out as {shape}")]
    Shape {
        /// The input.
        input: TensorLabel,
        /// How many values came.
        count: usize,
        /// The model's shape.
        shape: ShapePattern,
    },
}
