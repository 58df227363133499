use std::sync::Arc;

use adulis_tensor::{DataType, ShapePattern};

/// What `GET /v2` and `ServerMetadata` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMetadata {
    /// The server's name.
    pub name: Arc<str>,
    /// The server's version.
    pub version: Arc<str>,
    /// Protocol extensions it speaks.
    pub extensions: Vec<Arc<str>>,
}

/// What `GET /v2/models/{model}` and `ModelMetadata` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelMetadata {
    /// The model's name.
    pub name: Arc<str>,
    /// Versions that are ready, ascending.
    pub versions: Vec<u64>,
    /// The platform, such as `onnxruntime_onnx`.
    pub platform: Arc<str>,
    /// Inputs, with the leading -1 where the model batches.
    pub inputs: Vec<TensorMetadata>,
    /// Outputs, with the leading -1 where the model batches.
    pub outputs: Vec<TensorMetadata>,
}

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorMetadata {
    /// Its name.
    pub name: Arc<str>,
    /// Its datatype.
    pub datatype: DataType,
    /// Its shape; -1 stands for any extent.
    pub shape: ShapePattern,
    /// Whether a request may leave it out.
    pub optional: bool,
}
