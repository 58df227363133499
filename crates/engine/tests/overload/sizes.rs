//! Rows of different sizes: what a run costs is told by those of its size.

use std::thread;

use adulis_backend::{
    Backend, BackendError, BatchInput, Execution, LoadRequest, Model, ModelInstance, ModelSignature,
    TensorSpec,
};
use adulis_tensor::ShapePattern;
use adulis_types::ErrorKind;

use super::*;

/// A run takes a millisecond for each byte.
#[derive(Debug)]
struct Reading;

impl Backend for Reading {
    fn name(&self) -> &'static str {
        "reading"
    }

    fn load(&self, _: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            datatype: DataType::Uint8,
            shape: ShapePattern::new(&[-1, -1]),
            optional: false,
        };
        let signature = ModelSignature {
            inputs: vec![spec("IN")],
            outputs: vec![spec("OUT")],
            ..ModelSignature::default()
        };
        Ok(Arc::new(ReadingModel(signature)))
    }
}

#[derive(Debug)]
struct ReadingModel(ModelSignature);

impl Model for ReadingModel {
    fn signature(&self) -> &ModelSignature {
        &self.0
    }

    fn placement(&self) -> String {
        "test".to_owned()
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(ReadingInstance))
    }
}

struct ReadingInstance;

impl ModelInstance for ReadingInstance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let text = inputs[0].parts[0].clone();
        let took = MS * u32::try_from(text.data().len()).unwrap();
        thread::sleep(took);
        Ok(Execution { outputs: vec![text], infer: took, ..Execution::default() })
    }
}

fn text(length: usize) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest("m"));
    let tensor = Tensor::new(DataType::Uint8, Shape::from([1, length]), vec![b'a'; length].into()).unwrap();
    request.inputs.push(InputTensor { name: "IN".into(), tensor });
    request
}

/// Short texts take 3 ms, long ones 150.
const SHORT: usize = 3;
const LONG: usize = 150;

fn started(max_batch_size: usize) -> Server {
    let registry = MetricRegistry::default();
    let engine = Engine::new(settings(), vec![Arc::new(Reading)], &registry).unwrap();
    let mut model = model(Duration::ZERO, max_batch_size);
    model.config.backend = Some("reading".to_owned());
    model.config.parameters.clear();
    engine.load(&[model]);
    Server { engine, registry }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_texts_are_not_promised_what_short_ones_are() {
    for max_batch_size in [0, 1] {
        let server = started(max_batch_size);
        for _ in 0..20 {
            server.ask(text(SHORT)).await.unwrap().unwrap();
        }
        for _ in 0..4 {
            server.ask(text(LONG)).await.unwrap().unwrap();
        }
        let running = server.ask(text(LONG));
        server.busy(0.0).await;
        // A short one is answered in time behind a long one; a second long one could not be, and is told so.
        let short = server.ask(InferRequest { timeout: Some(250 * MS), ..text(SHORT) });
        server.busy(1.0).await;
        let fault = server.ask(InferRequest { timeout: Some(250 * MS), ..text(LONG) }).await.unwrap();
        let fault = fault.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Overloaded, "{fault}");
        // One that would be too late even alone need not come back.
        let fault = server.ask(InferRequest { timeout: Some(100 * MS), ..text(LONG) }).await.unwrap();
        let fault = fault.unwrap_err();
        assert_eq!((fault.kind(), fault.retry()), (ErrorKind::DeadlineExceeded, Retry::Never), "{fault}");
        assert!(fault.client_message().contains("a run takes about"), "{fault}");
        short.await.unwrap().unwrap();
        running.await.unwrap().unwrap();
        assert_eq!(server.shed("deadline"), 2.0);
    }
}
