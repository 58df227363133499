//! A backend whose instance breaks once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adulis_backend::{
    Backend, BackendError, BatchInput, Batching, Execution, LoadRequest, Model, ModelInstance,
    ModelSignature, TensorSpec,
};
use adulis_repository::Caching;
use adulis_tensor::{DataType, ShapePattern};
use adulis_types::ErrorKind;

use crate::{Server, entry, request};

/// The first byte of a run that finds its instance broken.
const BREAKS: u8 = 9;

/// Gives back what it is given.
#[derive(Default)]
pub(crate) struct BreaksOnce(Arc<AtomicBool>);

impl Backend for BreaksOnce {
    fn name(&self) -> &'static str {
        "breaks_once"
    }

    fn load(&self, _: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            datatype: DataType::Fp32,
            shape: ShapePattern::new(&[-1, 16]),
            optional: false,
        };
        let (inputs, outputs) = (vec![spec("INPUT0")], vec![spec("OUTPUT0")]);
        let signature = ModelSignature { inputs, outputs, batching: Batching::Possible };
        Ok(Arc::new(Breaking { has_broken: Arc::clone(&self.0), signature }))
    }
}

struct Breaking {
    has_broken: Arc<AtomicBool>,
    signature: ModelSignature,
}

impl Model for Breaking {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        "test".to_owned()
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(BreakingInstance(Arc::clone(&self.has_broken))))
    }
}

struct BreakingInstance(Arc<AtomicBool>);

impl ModelInstance for BreakingInstance {
    fn execute(&mut self, inputs: &[BatchInput]) -> Result<Execution, BackendError> {
        let only = &inputs[0].parts[0];
        if only.data().first() == Some(&BREAKS) && !self.0.swap(true, Ordering::SeqCst) {
            return Err(BackendError::Broken { reason: "it broke".to_owned() });
        }
        Ok(Execution { outputs: vec![only.clone()], ..Execution::default() })
    }
}

#[tokio::test]
async fn that_an_instance_broke_is_not_remembered_as_an_answer() {
    let mut remembering = entry("m", None, &[]);
    remembering.config.backend = Some("breaks_once".to_owned());
    remembering.config.caching = Caching { negative_ttl: Duration::from_secs(60), ..Caching::default() };
    let server = Server::start(&[remembering]);
    let fault = server.ask(request("m", &[BREAKS])).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Internal);
    assert!(fault.client_message().contains("it broke"), "{fault}");
    assert!(server.ask(request("m", &[BREAKS])).await.is_ok());
}
