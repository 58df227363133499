use std::path::PathBuf;

use adulis_tensor::DataType;

/// Requests that run before the model is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warmup {
    /// A name, for messages.
    pub name: String,
    /// Rows of each run; 0 for models that do not batch.
    pub batch_size: usize,
    /// Runs. At least 1.
    pub count: usize,
    /// The inputs; what is left out is generated from the model's own signature.
    pub inputs: Vec<WarmupInput>,
}

/// One input of a warm-up request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmupInput {
    /// The input's name.
    pub name: String,
    /// Its datatype.
    pub datatype: DataType,
    /// Its dimensions without the batch dimension; all known.
    pub dims: Vec<i64>,
    /// Where its data comes from.
    pub data: WarmupData,
}

/// Where the data of a warm-up input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarmupData {
    /// Zeros (empty strings for BYTES).
    Zero,
    /// Random values.
    Random,
    /// A file of one row's raw bytes, as the binary tensor extension lays them out: an existing path in the model's
    /// `warmup` folder.
    File(PathBuf),
}
