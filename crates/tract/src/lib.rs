//! The pure-Rust engine as a backend: [`Tract`].
//!
//! For places where no native library may go: static binaries, small images, targets that ONNX Runtime is not built for.
//! It needs nothing beside the executable and runs on the CPU, one thread per run.
//!
//! A model is optimised once, with its open dimensions as symbols, and the plan serves every shape. Where that cannot be
//! done, plans are made per combination of input shapes, on first use, and a bounded number of them is kept.
//!
//! What it does not do: execution providers other than the CPU, several threads within one run, BF16 and the types below
//! eight bits, optional inputs (they keep their initialiser), a cache of optimised models. Operators that it lacks are
//! reported when the model is loaded. Panics of the engine become errors here and do not reach the caller.

mod backend;
mod convert;
mod graph;
mod guard;
mod instance;
mod interrupt;
mod model;
mod plans;
mod signature;

pub use backend::Tract;
