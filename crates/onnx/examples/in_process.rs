//! Calls ONNX Runtime in its own process, for holding a server against it: no server, no queue, no copies.
//!
//! ```text
//! cargo run --release -p adulis-onnx --example in_process -- MODEL INPUT:DIMS THREADS
//! ```
//!
//! Each line of standard input is a number of calls; the answer is a line with their median in microseconds, so that a
//! measurement can let this process and a server take turns (`cargo xtask perf --only resnet50`). Like the server's, the
//! threads do not spin when idle. The call is the safe one of `ort`, over values that lie ready; outputs are left where they
//! are.
#![allow(clippy::print_stdout, reason = "a report is what it is for")]

use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use adulis_backend::Backend;
use adulis_onnx::{OnnxRuntime, OnnxRuntimeOptions};
use ort::session::Session;
use ort::value::TensorRef;

const USAGE: &str =
    "usage: in_process MODEL INPUT:DIMS THREADS, such as in_process model.onnx image:1,3,224,224 2";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, input, threads] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let (name, dims) = input.split_once(':').ok_or(USAGE)?;
    let shape = dims.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let mut session = session(Path::new(model), threads.parse()?)?;
    // Values in [0, 1), as the load generator sends.
    let count: usize = shape.iter().product();
    let data: Vec<f32> = (0..count).map(|index| ((index * 7919) % 65_536) as f32 / 65_536.0).collect();
    for line in std::io::stdin().lock().lines() {
        let calls: usize = line?.trim().parse()?;
        let mut microseconds = Vec::with_capacity(calls);
        for _ in 0..calls.max(1) {
            let began = Instant::now();
            let value = TensorRef::from_array_view((shape.as_slice(), data.as_slice()))?;
            let outputs = session.run(ort::inputs![name => value])?;
            microseconds.push(began.elapsed().as_secs_f64() * 1e6);
            drop(outputs);
        }
        microseconds.sort_by(f64::total_cmp);
        println!("{:.1}", microseconds[microseconds.len() / 2]);
    }
    Ok(())
}

/// A session with a pool of its own, as large as the one that a server's models share.
fn session(model: &Path, threads: usize) -> Result<Session, Box<dyn Error>> {
    // Finds and loads the library as the server does.
    OnnxRuntime::new(OnnxRuntimeOptions::default()).available()?;
    let environment = ort::init().build()?;
    let session = Session::builder(&environment)?
        .with_independent_thread_pool()?
        .with_intra_threads(threads)?
        .with_intra_op_spinning(false)?
        .commit_from_file(model)?;
    Ok(session)
}
