//! A short, seeded look for panics: valid messages with bytes changed, cut out and put in. The fuzz targets look longer.

use adulis_protocol::flatbuffers;
use adulis_protocol::grpc::{self, ModelInferRequest};
use adulis_protocol::rest;
use adulis_tensor::{DataType, ShapePattern};
use adulis_types::{ModelMetadata, ModelRef, TensorMetadata};
use bytes::Bytes;
use proptest::prelude::*;

const REST: [&str; 3] = [
    r#"{"id":"7","parameters":{"priority":1,"timeout":5,"x":-1.5e3},"inputs":[{"name":"A","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[3e2,-4]]}],"outputs":[{"name":"O","parameters":{"binary_data":true,"classification":3}}]}"#,
    r#"{"inputs":[{"data":["a\u00e9\n","b"],"name":"B","shape":[2],"datatype":"BYTES"},{"name":"C","datatype":"BOOL","shape":[1],"data":[true]}]}"#,
    r#"{"inputs":[{"name":"A","shape":[1,4],"datatype":"INT8","parameters":{"binary_data_size":4}}]}abcd"#,
];

/// Where to change, what to put there, how many bytes to drop.
type Change = (prop::sample::Index, Vec<u8>, usize);

fn change() -> impl Strategy<Value = Change> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3),
        prop::sample::select(&b"{}[]\",:-0123456789.eE \\ntfu\xff"[..]).prop_map(|byte| vec![byte]),
        Just(b"99999999999999999999".to_vec()),
        Just(b"[[[[[[[[".to_vec()),
    ];
    (any::<prop::sample::Index>(), bytes, 0_usize..4)
}

fn changed(mut body: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (index, bytes, drop) in changes {
        let at = index.index(body.len() + 1);
        let end = (at + drop).min(body.len());
        body.splice(at..end, bytes.iter().copied());
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Nothing panics, and what is taken for JSON is JSON.
    #[test]
    fn rest_bodies(
        which in 0..REST.len(),
        header in prop::option::of(0_usize..250),
        changes in prop::collection::vec(change(), 1..5),
    ) {
        let body = changed(REST[which].as_bytes().to_vec(), &changes);
        let header = header.or((which == 2).then(|| body.len().saturating_sub(4)));
        for header in [header, None] {
            if rest::decode_infer(ModelRef::latest("m"), Bytes::from(body.clone()), header).is_ok() {
                let json = &body[..header.unwrap_or(body.len())];
                prop_assert!(std::str::from_utf8(json).is_ok());
                serde_json::from_slice::<serde::de::IgnoredAny>(json).unwrap();
            }
            let _ = rest::decode_response(Bytes::from(body.clone()), header);
        }
    }

    #[test]
    fn grpc_messages(changes in prop::collection::vec(change(), 1..5), which in 0..2_usize) {
        let decoded = rest::decode_infer(ModelRef::latest("m"), Bytes::from_static(REST[which].as_bytes()), None).unwrap();
        let message = prost::Message::encode_to_vec(&grpc::encode_request(&decoded.request));
        let body = Bytes::from(changed(message, &changes));
        if let Ok(message) = <ModelInferRequest as prost::Message>::decode(body) {
            let _ = grpc::decode_infer(message);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Nothing panics, no offset leads out of the buffer, and tensors lie in it.
    #[test]
    fn flatbuffers_messages(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        which in 0..2_usize,
    ) {
        let decoded = rest::decode_infer(ModelRef::latest("m"), Bytes::from_static(REST[which].as_bytes()), None).unwrap();
        let mut body = flatbuffers::encode_request(&decoded.request).unwrap().concat();
        for (index, byte) in changes {
            let at = index.index(body.len());
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let body = Bytes::from(body);
        if let Ok(rest::RestRequest { request, .. }) = flatbuffers::decode_infer(ModelRef::latest("m"), &body) {
            for input in &request.inputs {
                let data = input.tensor.data();
                prop_assert!(data.is_empty() || body.as_ptr_range().contains(&data.as_ptr()));
            }
        }
        let _ = flatbuffers::decode_response(&body);
    }
}

const GENERATE: &str = r#"{"id":"7","text_input":"a\u00e9\n","parameters":{"stream":true,"x":-1.5e3},"ids":[[1,2],[3,4]],"top":"1"}"#;

fn generating() -> ModelMetadata {
    let input = |name: &str, datatype, shape: &[i64]| TensorMetadata {
        name: name.into(),
        datatype,
        shape: ShapePattern::new(shape),
        optional: false,
    };
    ModelMetadata {
        name: "m".into(),
        versions: vec![1],
        platform: "test".into(),
        inputs: vec![
            input("text_input", DataType::Bytes, &[-1, 1]),
            input("stream", DataType::Bool, &[1]),
            input("ids", DataType::Int64, &[-1, -1, 2]),
        ],
        outputs: Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Nothing panics, what is taken is JSON, and every tensor has a shape that the model takes.
    #[test]
    fn generate_bodies(changes in prop::collection::vec(change(), 1..5)) {
        let (metadata, body) = (generating(), changed(GENERATE.as_bytes().to_vec(), &changes));
        let model = ModelRef::latest("m");
        if let Ok(rest::RestRequest { request, .. }) = rest::generate::decode_generate(model, &metadata, &Bytes::from(body.clone())) {
            prop_assert!(body.is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok());
            for input in &request.inputs {
                let wanted = metadata.inputs.iter().find(|wanted| *wanted.name == *input.name).unwrap();
                prop_assert!(wanted.shape.matches(input.tensor.shape()));
            }
        }
    }
}

/// A request of a few bytes may not make the decoder take more than a few bytes, whatever shape it claims.
#[test]
fn claimed_shapes_take_no_memory() {
    let body = r#"{"inputs":[{"name":"A","shape":[1099511627776],"datatype":"FP64","data":[1]}]}"#;
    let error =
        rest::decode_infer(ModelRef::latest("m"), Bytes::from_static(body.as_bytes()), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model 'm': input 'A': expected 1099511627776 elements for FP64 [1099511627776], got 1"
    );
}
