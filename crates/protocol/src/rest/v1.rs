//! The V1 protocol of KServe, which is TensorFlow Serving's: plain JSON without names, datatypes or shapes, which follow
//! from the model's metadata and from how the lists are nested.
//!
//! In the row format (`instances`, answered with `predictions`) the request is a list of rows; in the column format
//! (`inputs`, answered with `outputs`) each tensor stands as a whole. See `docs/protocol.md`.

mod cells;
mod column;
mod element;
mod problem;
mod request;
mod response;
mod rows;
mod status;

pub(super) use column::Column;
pub use problem::PredictProblem;
pub use request::{PredictFormat, PredictRequest, decode_predict, is_predict};
pub use response::encode_predict;
pub use status::{model_list, model_status};

/// What is put behind a model's name to ask for an inference.
pub const PREDICT: &str = ":predict";
