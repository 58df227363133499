//! ONNX Runtime as a backend: [`OnnxRuntime`].
//!
//! The only crate that names `ort`, and the only one with unsafe code. The library is loaded dynamically, on the first
//! ONNX model ([`OnnxRuntime`] says where it is looked for), so a build needs no native library and a process that
//! serves no ONNX model loads none.
//!
//! Of `ort` it takes the loading of the library, the check of its version and the C declarations; sessions, values and
//! runs go to the C interface directly, because a run then costs less than half and takes byte strings that hold NUL
//! or are not UTF-8.
//!
//! Invariants:
//! - One environment per process, never released; its thread pool and its memory arena are shared by all sessions.
//! - A session belongs to one instance, which one thread at a time drives.
//! - An input value points at memory that the caller or the instance holds for the length of the run. An output's
//!   memory belongs to its value, which the returned tensor owns; it never points into an input.
//! - Nothing unwinds through C: the one callback catches panics.

#![allow(unsafe_code, reason = "the engine's interface is C")]

mod api;
mod datatype;
mod environment;
mod input;
mod instance;
mod interrupt;
mod locate;
mod logs;
mod model;
mod optimized;
mod output;
mod placement;
mod provider;
mod recipe;
mod runtime;
mod session;
mod session_options;
mod signature;
mod value;

pub use runtime::{OnnxRuntime, OnnxRuntimeOptions};
