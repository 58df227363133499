//! A trace as Triton's JSON has it.
//!
//! Source: Triton, "Triton Server Trace", "JSON Trace Output".

use std::fmt::{Display, Write as _};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use adulis_tensor::{DataType, Tensor};
use adulis_types::{TraceSpan, TracedTensor};
use half::{bf16, f16};

/// Turns moments into nanoseconds since 1970, by a clock that never goes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    anchor: Instant,
    nanoseconds: u128,
}

impl Clock {
    /// Anchored now.
    pub(super) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { anchor: Instant::now(), nanoseconds: since.as_nanos() }
    }

    fn nanoseconds(self, at: Instant) -> u128 {
        match at.checked_duration_since(self.anchor) {
            Some(after) => self.nanoseconds + after.as_nanos(),
            None => self.nanoseconds.saturating_sub(self.anchor.duration_since(at).as_nanos()),
        }
    }
}

/// Appends a trace: objects with commas between them, one line each.
pub(super) fn trace(out: &mut String, spans: &[TraceSpan], clock: Clock) {
    for (index, span) in spans.iter().enumerate() {
        if index > 0 {
            out.push_str(",\n");
        }
        head(out, span);
        let mut moments = span.moments.clone();
        moments.sort_by_key(|(_, at)| *at);
        for (moment, at) in moments {
            let (name, ns) = (moment.as_str(), clock.nanoseconds(at));
            append(
                out,
                format_args!(
                    ",\n{{\"id\":{},\"timestamps\":[{{\"name\":\"{name}\",\"ns\":{ns}}}]}}",
                    span.id
                ),
            );
        }
        for traced in &span.tensors {
            tensor(out, span.id, traced);
        }
    }
}

fn head(out: &mut String, span: &TraceSpan) {
    append(out, format_args!("{{\"id\":{},\"model_name\":", span.id));
    string(out, &span.model);
    match span.version {
        Some(version) => append(out, format_args!(",\"model_version\":{version}")),
        None => out.push_str(",\"model_version\":-1"),
    }
    if !span.request_id.is_empty() {
        out.push_str(",\"request_id\":");
        string(out, &span.request_id);
    }
    if let Some(parent) = span.parent {
        append(out, format_args!(",\"parent_id\":{parent}"));
    }
    out.push('}');
}

fn tensor(out: &mut String, id: u64, traced: &TracedTensor) {
    let activity = if traced.is_output { "TENSOR_BACKEND_OUTPUT" } else { "TENSOR_QUEUE_INPUT" };
    append(out, format_args!(",\n{{\"id\":{id},\"activity\":\"{activity}\",\"tensor\":{{\"name\":"));
    string(out, &traced.name);
    out.push_str(",\"data\":");
    let tensor = &traced.tensor;
    if tensor.datatype() == DataType::Bytes {
        string(out, &texts(tensor));
    } else {
        // Digits, signs and letters, which JSON takes as they are.
        out.push('"');
        numbers(out, tensor);
        out.push('"');
    }
    out.push_str(",\"shape\":\"");
    list(out, tensor.shape().iter());
    append(out, format_args!("\",\"dtype\":\"{}\"}}}}", tensor.datatype().as_str()));
}

/// Elements as one line of CSV, each in quotes.
fn texts(tensor: &Tensor) -> String {
    let mut line = String::new();
    for (index, element) in tensor.bytes_elements().enumerate() {
        if index > 0 {
            line.push(',');
        }
        line.push('"');
        line.push_str(&String::from_utf8_lossy(element).replace('"', "\"\""));
        line.push('"');
    }
    line
}

fn numbers(out: &mut String, tensor: &Tensor) {
    let bytes = &tensor.data()[..];
    match tensor.datatype() {
        DataType::Bool | DataType::Uint8 => list(out, bytes.iter()),
        DataType::Int8 => list(out, bytes.iter().map(|byte| byte.cast_signed())),
        DataType::Uint16 => list(out, values(bytes).map(u16::from_le_bytes)),
        DataType::Int16 => list(out, values(bytes).map(i16::from_le_bytes)),
        DataType::Uint32 => list(out, values(bytes).map(u32::from_le_bytes)),
        DataType::Int32 => list(out, values(bytes).map(i32::from_le_bytes)),
        DataType::Uint64 => list(out, values(bytes).map(u64::from_le_bytes)),
        DataType::Int64 => list(out, values(bytes).map(i64::from_le_bytes)),
        DataType::Fp16 => list(out, values(bytes).map(f16::from_le_bytes)),
        DataType::Bf16 => list(out, values(bytes).map(bf16::from_le_bytes)),
        DataType::Fp32 => list(out, values(bytes).map(f32::from_le_bytes)),
        DataType::Fp64 => list(out, values(bytes).map(f64::from_le_bytes)),
        DataType::Bytes => {}
    }
}

/// The elements of `bytes`, each of `N` bytes.
fn values<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

fn list(out: &mut String, values: impl Iterator<Item = impl Display>) {
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(',');
        }
        append(out, format_args!("{value}"));
    }
}

/// Appends a string with its quotes.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\u{0}'..='\u{1f}' => append(out, format_args!("\\u{:04x}", u32::from(char))),
            _ => out.push(char),
        }
    }
    out.push('"');
}

fn append(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adulis_tensor::Shape;
    use adulis_types::TraceMoment;

    use super::*;

    fn traced(is_output: bool, datatype: DataType, shape: &[usize], data: &[u8]) -> TracedTensor {
        let tensor = Tensor::new(datatype, Shape::new(shape), data.to_vec().into()).unwrap();
        TracedTensor { is_output, name: "t".into(), tensor }
    }

    fn written(span: TraceSpan, clock: Clock) -> String {
        let mut out = String::new();
        trace(&mut out, &[span], clock);
        out
    }

    #[test]
    fn moments_are_in_their_order_and_in_nanoseconds() {
        let anchor = Instant::now();
        let clock = Clock { anchor, nanoseconds: 1_000_000_000 };
        let span = TraceSpan {
            id: 7,
            parent: Some(5),
            model: "a \"b\"\n".into(),
            version: Some(2),
            request_id: "r".into(),
            moments: vec![
                (TraceMoment::RequestEnd, anchor + Duration::from_nanos(3)),
                (TraceMoment::RequestStart, anchor.checked_sub(Duration::from_nanos(4)).unwrap()),
            ],
            ..TraceSpan::default()
        };
        assert_eq!(
            written(span, clock),
            "{\"id\":7,\"model_name\":\"a \\\"b\\\"\\u000a\",\"model_version\":2,\"request_id\":\"r\",\"parent_id\":5},\n\
             {\"id\":7,\"timestamps\":[{\"name\":\"REQUEST_START\",\"ns\":999999996}]},\n\
             {\"id\":7,\"timestamps\":[{\"name\":\"REQUEST_END\",\"ns\":1000000003}]}"
        );
    }

    #[test]
    fn tensors_are_lists_in_text() {
        let nan = [f32::NAN, f32::NEG_INFINITY, 0.1].map(f32::to_le_bytes).concat();
        let span = TraceSpan {
            id: 1,
            model: "m".into(),
            tensors: vec![
                traced(false, DataType::Fp32, &[1, 3], &nan),
                traced(false, DataType::Bool, &[2], &[0, 1]),
                traced(true, DataType::Int8, &[1], &[255]),
                traced(true, DataType::Fp16, &[1], &f16::from_f32(1.5).to_le_bytes()),
                traced(true, DataType::Bytes, &[2], b"\x03\0\0\0a\"b\x01\0\0\0\n"),
                traced(true, DataType::Int64, &[0], &[]),
            ],
            ..TraceSpan::default()
        };
        let text = written(span, Clock::start());
        let objects: Vec<serde_json::Value> = serde_json::from_str(&format!("[{text}]")).unwrap();
        assert_eq!(objects[0]["model_version"], -1);
        let told: Vec<_> = objects[1..]
            .iter()
            .map(|object| {
                let tensor = &object["tensor"];
                let of = |key: &str| tensor[key].as_str().unwrap().to_owned();
                assert_eq!(tensor["name"], "t");
                (object["activity"].as_str().unwrap(), of("data"), of("shape"), of("dtype"))
            })
            .collect();
        let expected = [
            ("TENSOR_QUEUE_INPUT", "NaN,-inf,0.1", "1,3", "FP32"),
            ("TENSOR_QUEUE_INPUT", "0,1", "2", "BOOL"),
            ("TENSOR_BACKEND_OUTPUT", "-1", "1", "INT8"),
            ("TENSOR_BACKEND_OUTPUT", "1.5", "1", "FP16"),
            ("TENSOR_BACKEND_OUTPUT", "\"a\"\"b\",\"\n\"", "2", "BYTES"),
            ("TENSOR_BACKEND_OUTPUT", "", "0", "INT64"),
        ]
        .map(|(activity, data, shape, dtype)| {
            (activity, data.to_owned(), shape.to_owned(), dtype.to_owned())
        });
        assert_eq!(told, expected);
    }
}
