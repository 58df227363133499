use std::sync::Arc;

use adulis_tensor::{DataType, ShapePattern};

/// One input or output as the model itself declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its datatype.
    pub datatype: DataType,
    /// Its whole shape, batch dimension included; -1 stands for any extent.
    pub shape: ShapePattern,
    /// Whether a run may leave it out (inputs with an initialiser).
    pub optional: bool,
}

/// Whether the leading dimension can be a batch dimension, as far as the model file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Batching {
    /// Some input or output has no open leading dimension, or their names differ.
    #[default]
    No,
    /// Every input's and output's leading dimension is open, and no two carry different names.
    Possible,
}

/// Inputs and outputs of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelSignature {
    /// Inputs, in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs, in the model's order.
    pub outputs: Vec<TensorSpec>,
    /// Whether the model looks batchable.
    pub batching: Batching,
}
