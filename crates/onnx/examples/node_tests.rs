//! Runs the ONNX project's backend node tests through an engine and reports how many agree.
//!
//! ```text
//! cargo run --release -p adulis-onnx --example node_tests -- onnxruntime FOLDER [--failures]
//! cargo run --release -p adulis-onnx --example node_tests -- tract FOLDER [--failures]
//! ```
//!
//! FOLDER is `onnx/backend/test/data/node` of the Python package `onnx` 1.19.1. Every model that loads stays loaded, so
//! that the memory and the threads at the end are those of a process that holds all of them.
#![allow(clippy::print_stdout, reason = "a report is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use adulis_backend::{
    Backend, BackendError, BatchInput, EngineOptions, LoadRequest, Model, ModelInstance, TensorSpec,
};
use adulis_onnx::{OnnxRuntime, OnnxRuntimeOptions};
use adulis_tensor::{DataType, Shape, Tensor, append_element};
use adulis_tract::Tract;
use prost::Message;

/// Tolerances of the ONNX project's own runner.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (engine, folder) = match arguments.as_slice() {
        [engine, folder, ..] => (engine.as_str(), Path::new(folder)),
        _ => return Err("usage: node_tests onnxruntime|tract FOLDER [--failures]".into()),
    };
    let backend: Box<dyn Backend> = match engine {
        "onnxruntime" => Box::new(OnnxRuntime::new(OnnxRuntimeOptions::default())),
        "tract" => Box::new(Tract),
        other => return Err(format!("no engine {other:?}").into()),
    };
    backend.available()?;
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    cases.retain(|case| case.join("model.onnx").is_file());
    cases.sort();
    report(&*backend, &cases, arguments.iter().any(|argument| argument == "--failures"));
    Ok(())
}

fn report(backend: &dyn Backend, cases: &[PathBuf], tell_failures: bool) {
    let started = Instant::now();
    let loaded: Vec<_> = cases.iter().map(|case| (case, load(backend, case))).collect();
    let sessions = loaded.iter().filter(|(_, model)| model.is_ok()).count();
    println!(
        "{} cases, {sessions} loaded in {:.1} s; {}",
        cases.len(),
        started.elapsed().as_secs_f64(),
        process()
    );
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    for (case, model) in loaded {
        let (outcome, reason) = match model {
            Ok((model, mut instance)) => {
                let outcome = run_case(case, &*model, &mut *instance);
                kept.push((model, instance));
                outcome
            }
            Err(BackendError::Unsupported { what }) => ("refused at load: type not in the protocol", what),
            Err(error) => ("failed to load", error.to_string()),
        };
        *outcomes.entry(outcome).or_default() += 1;
        if tell_failures && outcome != "agree" {
            println!("{outcome}: {}: {reason}", case.file_name().unwrap_or_default().display());
        }
    }
    for (outcome, count) in outcomes {
        println!("{count:5} {outcome}");
    }
    println!("all run once, {} held: {}", kept.len(), process());
}

type Loaded = (Arc<dyn Model>, Box<dyn ModelInstance>);

fn load(backend: &dyn Backend, case: &Path) -> Result<Loaded, BackendError> {
    let model = backend.load(&LoadRequest {
        name: case.file_name().unwrap_or_default().to_string_lossy().into(),
        version: 1,
        path: case.join("model.onnx"),
        declared: None,
        options: EngineOptions::default(),
    })?;
    let instance = model.instance()?;
    Ok((model, instance))
}

fn run_case(case: &Path, model: &dyn Model, instance: &mut dyn ModelInstance) -> (&'static str, String) {
    for set in (0..).map(|set| case.join(format!("test_data_set_{set}"))).take_while(|set| set.is_dir()) {
        let expected = match expected_outputs(&set, &model.signature().outputs) {
            Ok(expected) => expected,
            Err(reason) => return ("data not read", reason),
        };
        let inputs = match inputs_of(&set, model) {
            Ok(inputs) => inputs,
            Err(reason) => return ("data not read", reason),
        };
        let execution = match instance.execute(&inputs) {
            Ok(execution) => execution,
            Err(error) => return ("failed to run", error.to_string()),
        };
        for (index, (have, want)) in execution.outputs.iter().zip(&expected).enumerate() {
            if let Err(reason) = compare(have, want) {
                return ("disagree", format!("output {index}: {reason}"));
            }
        }
    }
    ("agree", String::new())
}

/// A tensor of the ONNX file format, as far as the tests use it.
#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    int32_data: Vec<i32>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    string_data: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "7")]
    int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    double_data: Vec<f64>,
    #[prost(uint64, repeated, tag = "11")]
    uint64_data: Vec<u64>,
}

fn inputs_of(set: &Path, model: &dyn Model) -> Result<Vec<BatchInput>, String> {
    let specs = &model.signature().inputs;
    let mut inputs = Vec::new();
    for (place, path) in files(set, "input").into_iter().enumerate() {
        let proto = read(&path)?;
        let index = specs.iter().position(|spec| *spec.name == *proto.name).unwrap_or(place);
        let spec = specs.get(index).ok_or_else(|| format!("no input {:?}", proto.name))?;
        let tensor = tensor_of(proto, spec.datatype)?;
        inputs.push(BatchInput {
            index,
            name: spec.name.clone(),
            datatype: spec.datatype,
            shape: tensor.shape().clone(),
            parts: vec![tensor],
        });
    }
    inputs.sort_by_key(|input| input.index);
    Ok(inputs)
}

fn expected_outputs(set: &Path, specs: &[TensorSpec]) -> Result<Vec<Tensor>, String> {
    files(set, "output")
        .iter()
        .zip(specs)
        .map(|(path, spec)| tensor_of(read(path)?, spec.datatype))
        .collect()
}

fn files(set: &Path, side: &str) -> Vec<PathBuf> {
    (0..)
        .map(|index| set.join(format!("{side}_{index}.pb")))
        .take_while(|path| path.is_file())
        .collect()
}

fn read(path: &Path) -> Result<TensorProto, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    TensorProto::decode(bytes.as_slice()).map_err(|error| error.to_string())
}

/// The tensor, whichever of the format's fields its data is in.
fn tensor_of(proto: TensorProto, datatype: DataType) -> Result<Tensor, String> {
    let shape = proto.dims.iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).collect::<Shape>();
    let data = if datatype == DataType::Bytes {
        let mut wire = Vec::new();
        for text in &proto.string_data {
            append_element(&mut wire, text).map_err(|error| error.to_string())?;
        }
        wire
    } else if proto.raw_data.is_empty() {
        let size = datatype.size_bytes().unwrap_or(1);
        let narrow = proto.int32_data.iter().flat_map(|value| value.to_le_bytes()[..size.min(4)].to_vec());
        proto
            .float_data
            .iter()
            .flat_map(|value| value.to_le_bytes().to_vec())
            .chain(narrow)
            .chain(proto.int64_data.iter().flat_map(|value| value.to_le_bytes().to_vec()))
            .chain(proto.double_data.iter().flat_map(|value| value.to_le_bytes().to_vec()))
            .chain(proto.uint64_data.iter().flat_map(|value| value.to_le_bytes()[..size].to_vec()))
            .collect()
    } else {
        proto.raw_data
    };
    Tensor::new(datatype, shape, data.into()).map_err(|error| error.to_string())
}

fn compare(have: &Tensor, want: &Tensor) -> Result<(), String> {
    if have.shape() != want.shape() {
        return Err(format!("expected shape {}, got {}", want.shape(), have.shape()));
    }
    let values = floats(have).zip(floats(want));
    let Some((have_values, want_values)) = values else {
        return if have == want { Ok(()) } else { Err("other values".to_owned()) };
    };
    for (have, want) in have_values.into_iter().zip(want_values) {
        let close = have == want
            || (have.is_nan() && want.is_nan())
            || (have - want).abs() <= ABSOLUTE + RELATIVE * want.abs();
        if !close {
            return Err(format!("expected {want}, got {have}"));
        }
    }
    Ok(())
}

/// The values of a floating-point tensor; `None` for others, which must be equal.
fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let data = tensor.data();
    let pairs = || data.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    Some(match tensor.datatype() {
        DataType::Fp16 => pairs().map(|pair| half::f16::from_le_bytes(pair).to_f64()).collect(),
        DataType::Bf16 => pairs().map(|pair| half::bf16::from_le_bytes(pair).to_f64()).collect(),
        DataType::Fp32 => data
            .chunks_exact(4)
            .map(|bytes| f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
            .collect(),
        DataType::Fp64 => data
            .chunks_exact(8)
            .map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap_or_default()))
            .collect(),
        _ => return None,
    })
}

/// Resident memory and threads of this process.
fn process() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse::<u64>().ok())
    };
    match (field("VmRSS:"), field("Threads:")) {
        (Some(resident), Some(threads)) => format!("{} MiB resident, {threads} threads", resident / 1024),
        _ => "memory and threads are read on Linux only".to_owned(),
    }
}
