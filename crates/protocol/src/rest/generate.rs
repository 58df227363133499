//! Triton's generate extension: inferences as plain JSON objects whose keys are the inputs' names, for clients of models that
//! write text. Datatypes and shapes follow from the model's metadata.
//!
//! An answer is an object of the same kind; many are sent as events (Server-Sent Events). See `docs/protocol.md`.

mod problem;
mod request;
mod response;

pub use problem::GenerateProblem;
pub use request::decode_generate;
pub use response::{EVENT_STREAM, encode_generate, event};
