//! How long the codecs take: `cargo bench -p adulis-protocol`.

use std::hint::black_box;

use adulis_protocol::grpc::{self, InferTensorContents, ModelInferRequest};
use adulis_protocol::rest::v1::{self, PredictFormat};
use adulis_protocol::rest::{self, NonFinite, OutputFormat};
use adulis_protocol::{flatbuffers, model_ref};
use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use adulis_types::{
    InferRequest, InferResponse, InputTensor, ModelMetadata, ModelRef, OutputTensor, Parameters,
    StageTimings, TensorMetadata,
};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;

/// Values of an image of 3 × 224 × 224.
const IMAGE_VALUES: usize = 150_528;

fn model() -> ModelRef {
    model_ref("identity", None).expect("no version to be wrong")
}

/// Numbers of 24 random bits below 1, as pixels and activations are.
fn values(count: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bits = u16::try_from(state >> 48).expect("16 bits are left");
        f32::from(bits) / 65_536.0 + f32::from(bits % 251) / 16_777_216.0
    };
    (0..count).map(next).collect()
}

fn tensor(count: usize) -> Tensor {
    let data: Vec<u8> = values(count).iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::new(DataType::Fp32, Shape::from([1, count]), data.into()).expect("the length is the shape's")
}

fn request(count: usize) -> InferRequest {
    let mut request = InferRequest::new(model());
    request.inputs.push(InputTensor { name: "INPUT0".into(), tensor: tensor(count) });
    request
}

fn response(count: usize) -> InferResponse {
    InferResponse {
        model_name: "identity".into(),
        model_version: 1,
        id: "".into(),
        parameters: Parameters::default(),
        outputs: vec![OutputTensor::new("OUTPUT0", tensor(count))],
        timings: StageTimings::default(),
        cache: None,
        quota: None,
    }
}

/// What a reader of typed JSON makes of the same body, to compare with.
#[derive(serde::Deserialize)]
struct Typed {
    inputs: Vec<TypedInput>,
}

#[derive(serde::Deserialize)]
struct TypedInput {
    data: Vec<f32>,
}

/// A JSON request whose numbers are printed by `print`.
fn json(print: impl Fn(f32) -> String) -> Bytes {
    let numbers: Vec<String> = values(IMAGE_VALUES).into_iter().map(print).collect();
    let data = numbers.join(", ");
    format!(
        r#"{{"inputs":[{{"name":"INPUT0","shape":[1,{IMAGE_VALUES}],"datatype":"FP32","data":[{data}]}}]}}"#
    )
    .into()
}

fn small_binary(c: &mut Criterion) {
    let body = rest::encode_request(&request(16), true, true);
    let header = body.header_length;
    let body = body.into_bytes();
    c.bench_function("rest/decode 16 FP32 binary", |b| {
        b.iter_batched(
            || (model(), body.clone()),
            |(model, body)| rest::decode_infer(model, body, black_box(header)),
            BatchSize::SmallInput,
        );
    });
    let format = OutputFormat::new(true);
    let response = response(16);
    c.bench_function("rest/encode 16 FP32 binary", |b| {
        b.iter_batched(
            || response.clone(),
            |response| rest::encode_infer(response, &format),
            BatchSize::SmallInput,
        );
    });
    let message = grpc::encode_request(&request(16));
    c.bench_function("grpc/decode 16 FP32 raw", |b| {
        b.iter_batched(|| message.clone(), grpc::decode_infer, BatchSize::SmallInput);
    });
    c.bench_function("grpc/encode 16 FP32 raw", |b| {
        b.iter_batched(|| response.clone(), grpc::encode_infer, BatchSize::SmallInput);
    });
}

fn image(c: &mut Criterion) {
    let mut group = c.benchmark_group("image");
    let shortest = json(|value| value.to_string());
    let numpy = json(|value| f64::from(value).to_string());
    for (name, body) in [("shortest", shortest), ("NumPy", numpy)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("serde_json, {name} form"), |b| {
            b.iter(|| {
                let typed: Typed = serde_json::from_slice(&body).expect("valid JSON");
                typed.inputs.iter().map(|input| input.data.len()).sum::<usize>()
            });
        });
        group.bench_function(format!("simd-json, {name} form"), |b| {
            b.iter_batched(
                || body.to_vec(),
                |mut body| {
                    let typed: Typed = simd_json::serde::from_slice(&mut body).expect("valid JSON");
                    typed.inputs.iter().map(|input| input.data.len()).sum::<usize>()
                },
                BatchSize::LargeInput,
            );
        });
        group.bench_function(format!("rest/decode JSON, {name} form"), |b| {
            b.iter_batched(
                || (model(), body.clone()),
                |(model, body)| rest::decode_infer(model, body, None),
                BatchSize::LargeInput,
            );
        });
    }
    let response = response(IMAGE_VALUES);
    group.throughput(Throughput::Elements(IMAGE_VALUES as u64));
    for binary in [false, true] {
        let format = OutputFormat::new(binary);
        group.bench_function(format!("rest/encode {}", if binary { "binary" } else { "JSON" }), |b| {
            b.iter_batched(
                || response.clone(),
                |response| rest::encode_infer(response, &format),
                BatchSize::LargeInput,
            );
        });
    }
    let body = rest::encode_request(&request(IMAGE_VALUES), true, true);
    let header = body.header_length;
    let body = body.into_bytes();
    group.bench_function("rest/decode binary", |b| {
        b.iter_batched(
            || (model(), body.clone()),
            |(model, body)| rest::decode_infer(model, body, black_box(header)),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The same image in every form that a body may have, in and out: what a client chooses between.
fn forms(c: &mut Criterion) {
    let mut group = c.benchmark_group("forms");
    let request = request(IMAGE_VALUES);
    let protobuf = Bytes::from(grpc::encode_request(&request).encode_to_vec());
    let typed = Bytes::from(typed_message().encode_to_vec());
    let flat = Bytes::from(flatbuffers::encode_request(&request).expect("short enough").concat());
    let rows = json(|value| value.to_string());
    let rows = String::from_utf8_lossy(&rows);
    let (from, to) = (rows.find(r#""data":"#).expect("data") + 7, rows.len() - 3);
    let rows = Bytes::from(format!(r#"{{"instances":[{}]}}"#, &rows[from..to + 1]));
    let metadata = metadata();
    group.bench_function("protobuf/decode raw", |b| {
        b.iter_batched(
            || (model(), protobuf.clone()),
            |(model, body)| grpc::decode_body(model, body),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("protobuf/decode typed contents", |b| {
        b.iter_batched(
            || (model(), typed.clone()),
            |(model, body)| grpc::decode_body(model, body),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("grpc/decode raw", |b| {
        b.iter_batched(
            || protobuf.clone(),
            |body| ModelInferRequest::decode(body).map(grpc::decode_infer),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("flatbuffers/decode", |b| {
        b.iter_batched(
            || (model(), flat.clone()),
            |(model, body)| flatbuffers::decode_infer(model, &body),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("v1/decode", |b| {
        b.iter_batched(
            || (model(), rows.clone()),
            |(model, body)| v1::decode_predict(model, &metadata, &body),
            BatchSize::LargeInput,
        );
    });
    let response = response(IMAGE_VALUES);
    group.bench_function("protobuf/encode", |b| {
        b.iter_batched(|| response.clone(), grpc::encode_body, BatchSize::LargeInput);
    });
    group.bench_function("flatbuffers/encode", |b| {
        b.iter_batched(|| response.clone(), flatbuffers::encode_infer, BatchSize::LargeInput);
    });
    group.bench_function("v1/encode", |b| {
        b.iter(|| v1::encode_predict(&response, PredictFormat::Rows, NonFinite::Text));
    });
    group.finish();
}

/// The image as a message of typed contents, as clients without NumPy write it.
fn typed_message() -> ModelInferRequest {
    let mut message = grpc::encode_request(&request(IMAGE_VALUES));
    message.raw_input_contents.clear();
    let contents = InferTensorContents { fp32_contents: values(IMAGE_VALUES), ..Default::default() };
    message.inputs[0].contents = Some(contents);
    message
}

/// What V1 must know of the model.
fn metadata() -> ModelMetadata {
    let input = TensorMetadata {
        name: "INPUT0".into(),
        datatype: DataType::Fp32,
        shape: ShapePattern::new(&[-1, -1]),
        optional: false,
    };
    ModelMetadata {
        name: "identity".into(),
        versions: vec![1],
        platform: "bench".into(),
        inputs: vec![input],
        outputs: Vec::new(),
    }
}

criterion_group!(benches, small_binary, image, forms);
criterion_main!(benches);
