//! A model whose run is long: serving it over calling ONNX Runtime in the process.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result};

use super::figure::{Figure, digits};
use super::goal::Goal;
use super::load::{p50_microseconds, rest};
use super::machine::cores;
use super::spread::Spread;
use super::workbench::Workbench;
use crate::workspace;

/// Windows of each side, and repetitions with fresh processes.
const PAIRS: usize = 12;
const REPETITIONS: usize = 2;

/// Calls in the process per window, and a window of the server that has about as many.
const CALLS: usize = 20;
const INTERVAL: &str = "1s";

/// The example of `adulis-onnx` that calls ONNX Runtime in its own process.
pub(super) const EXAMPLE: &str = "in_process";

/// Latency over REST binary against the bare call.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let folder = workspace::root().join("examples").join("models").join("resnet50");
    let model = folder.join("1").join("model.onnx");
    let (pairs, repetitions) = (bench.count(PAIRS, 2), bench.count(REPETITIONS, 1));
    let (mut served, mut called) = (Vec::new(), Vec::new());
    for repetition in 1..=repetitions {
        let adulis = bench.serve(&folder)?;
        let mut in_process = InProcess::start(bench, &model)?;
        eprintln!("resnet50: {repetition} of {repetitions}, {pairs} pairs of windows …");
        in_process.p50_microseconds()?;
        for _ in 0..pairs {
            served.push(p50_microseconds(bench, "resnet50", &rest(adulis.http), INTERVAL)?);
            called.push(in_process.p50_microseconds()?);
        }
    }
    let ratios: Vec<f64> = served.iter().zip(&called).map(|(served, called)| served / called).collect();
    let [served, called] = [served, called].map(Spread::of);
    let milliseconds = |spread: Option<Spread>| spread.map_or_else(String::new, |it| digits(it.median / 1e3));
    let remark = format!(
        "p50 {} ms against {} ms, {} threads, which do not spin",
        milliseconds(served),
        milliseconds(called),
        cores()
    );
    let what =
        "ResNet-50's shape, REST binary, one connection: latency over calling ONNX Runtime in the process";
    Ok(vec![Figure::new(what, "×", &ratios)?.goal(Goal::AtMost(1.03)).remark(remark)])
}

/// The other process, which runs calls when it is told to.
struct InProcess {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl InProcess {
    fn start(bench: &Workbench, model: &Path) -> Result<Self> {
        let mut command = bench.program(&format!("examples/{EXAMPLE}"));
        command.arg(model).args(["image:1,3,224,224", &cores().to_string()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the example that calls ONNX Runtime")?;
        let ask = child.stdin.take().context("no pipe to the example")?;
        let answers = BufReader::new(child.stdout.take().context("no pipe from the example")?);
        Ok(Self { child, ask, answers })
    }

    /// Median of some calls.
    fn p50_microseconds(&mut self) -> Result<f64> {
        writeln!(self.ask, "{CALLS}").context("the example that calls ONNX Runtime has ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim()
            .parse()
            .with_context(|| format!("expected microseconds, the example says {line:?}"))
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
