//! Tensors that clients see in another shape than the model has, with the built-in identity.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use adulis_backend::BuiltIn;
use adulis_engine::{Engine, Settings};
use adulis_repository::{
    ModelConfig, ModelEntry, ModelVersion, TensorConfig, Warmup, WarmupData, WarmupInput,
};
use adulis_telemetry::MetricRegistry;
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{InferRequest, InferenceService, InputTensor, ModelRef};
use bytes::Bytes;

fn tensor(name: &str, dims: &[i64], reshape: Option<&[i64]>) -> TensorConfig {
    TensorConfig {
        reshape: reshape.map(<[i64]>::to_vec),
        ..TensorConfig::new(name, DataType::Uint8, dims)
    }
}

fn model(rows: usize, input: TensorConfig, output: TensorConfig) -> ModelConfig {
    ModelConfig {
        backend: Some("identity".to_owned()),
        max_batch_size: Some(rows),
        inputs: vec![input],
        outputs: vec![output],
        ..ModelConfig::derived("m")
    }
}

fn engine(config: ModelConfig) -> Arc<Engine> {
    let settings = Settings { inline_threshold: Duration::ZERO, execution_threads: 2, ..Settings::default() };
    let engine = Engine::new(settings, vec![Arc::new(BuiltIn)], &MetricRegistry::default()).unwrap();
    let versions = vec![ModelVersion { version: 1, path: "none".into() }];
    engine.load(&[ModelEntry { name: config.name.clone(), config, versions, directory: None }]);
    engine
}

async fn ask(engine: &Engine, shape: &[usize]) -> Result<Vec<usize>, String> {
    let mut request = InferRequest::new(ModelRef::latest("m"));
    let bytes: Vec<u8> = (0..=255).take(shape.iter().product()).collect();
    let tensor = Tensor::new(DataType::Uint8, Shape::new(shape), Bytes::from(bytes.clone())).unwrap();
    request.inputs.push(InputTensor { name: "IN".into(), tensor });
    let response = engine.infer(request).await.map_err(|fault| fault.client_message().into_owned())?;
    assert_eq!(&response.outputs[0].tensor.data()[..], bytes);
    Ok(response.outputs[0].tensor.shape().to_vec())
}

#[tokio::test]
async fn clients_send_and_get_their_shape_and_the_model_its_own() {
    let config = model(8, tensor("IN", &[2, 3], Some(&[6])), tensor("OUT", &[3, 2], Some(&[6])));
    let engine = engine(config);
    assert!(engine.ready());
    let answers = futures_util::future::join_all((1..=5).map(|rows| {
        let engine = &engine;
        async move { ask(engine, &[rows, 2, 3]).await }
    }));
    for (rows, answer) in (1..).zip(answers.await) {
        assert_eq!(answer, Ok(vec![rows, 3, 2]), "of a batch, too");
    }
    let wrong = ask(&engine, &[1, 6]).await.unwrap_err();
    assert_eq!(wrong, "model 'm': input 'IN' has shape [1,6], expected [-1,2,3]");
    let metadata = engine.model_metadata(&ModelRef::latest("m")).unwrap();
    assert_eq!(metadata.inputs[0].shape.to_string(), "[-1,2,3]");
    assert_eq!(metadata.outputs[0].shape.to_string(), "[-1,3,2]");
    let config = engine.model_config(&ModelRef::latest("m")).unwrap();
    let json = std::str::from_utf8(&config.json).unwrap();
    assert!(json.contains(r#""dims":[2,3],"reshape":{"shape":[6]}"#), "{json}");
}

#[tokio::test]
async fn an_output_alone_may_be_reshaped() {
    let engine = engine(model(0, tensor("IN", &[4], None), tensor("OUT", &[1, -1], Some(&[-1]))));
    assert_eq!(ask(&engine, &[4]).await, Ok(vec![1, 4]));
}

#[tokio::test]
async fn one_element_may_be_a_scalar_of_the_model() {
    let scalar = |name| tensor(name, &[1], Some(&[]));
    assert_eq!(ask(&engine(model(0, scalar("IN"), scalar("OUT"))), &[1]).await, Ok(vec![1]));
    assert_eq!(ask(&engine(model(4, scalar("IN"), scalar("OUT"))), &[3, 1]).await, Ok(vec![3, 1]));
}

#[tokio::test]
async fn open_extents_and_warm_up_are_in_the_shape_of_clients() {
    let mut config = model(4, tensor("IN", &[-1, 1, 2], Some(&[-1, 2])), tensor("OUT", &[-1, 2], None));
    let input = WarmupInput {
        name: "IN".to_owned(),
        datatype: DataType::Uint8,
        dims: vec![5, 1, 2],
        data: WarmupData::Zero,
    };
    config.warmup = vec![Warmup { name: "w".to_owned(), batch_size: 2, count: 1, inputs: vec![input] }];
    let engine = engine(config);
    assert!(engine.ready(), "{:?}", engine.model_metadata(&ModelRef::latest("m")));
    assert_eq!(ask(&engine, &[3, 4, 1, 2]).await, Ok(vec![3, 4, 2]));
}
