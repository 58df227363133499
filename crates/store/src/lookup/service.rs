use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_types::{
    BoxFuture, DelegatingService, Fault, InferRequest, InferResponse, InferenceService, LoadModel,
    ModelMetadata, ModelRef, ResponseStream, TensorMetadata, one_response,
};
use futures_util::TryStreamExt;
use futures_util::stream;
use parking_lot::RwLock;
use serde::Deserialize;

use super::config::parse;
use super::error::LookupError;
use super::lookups::Lookups;
use super::plan::Plan;

/// How long it is known what a model looks up, before its configuration is read again: it may have been loaded anew.
const RENEW_AFTER: Duration = Duration::from_secs(5);
/// Models at a time.
const MAX_MODELS: usize = 10_000;

/// A service whose models may have inputs looked up. A request for a model without costs one look-up.
pub(crate) struct Enriching {
    inner: Arc<dyn InferenceService>,
    lookups: Lookups,
    known: RwLock<HashMap<ModelRef, Known>>,
}

/// What a model looks up.
#[derive(Clone)]
struct Known {
    text: Option<String>,
    inputs: Vec<TensorMetadata>,
    plans: Arc<Result<Vec<Plan>, String>>,
    read: Instant,
}

/// The one thing that is read of a configuration.
#[derive(Default, Deserialize)]
struct Document {
    #[serde(default)]
    parameters: HashMap<String, Parameter>,
}

#[derive(Default, Deserialize)]
struct Parameter {
    #[serde(default)]
    string_value: String,
}

impl Enriching {
    pub(crate) fn new(inner: Arc<dyn InferenceService>, lookups: Lookups) -> Self {
        Self { inner, lookups, known: RwLock::default() }
    }

    /// What a model looks up; nothing for one that is not there, which the other service will say.
    fn plans(&self, model: &ModelRef) -> Option<Arc<Result<Vec<Plan>, String>>> {
        if let Some(known) = self.known.read().get(model).filter(|known| known.read.elapsed() < RENEW_AFTER) {
            return Some(Arc::clone(&known.plans));
        }
        let (text, metadata) = self.read(model)?;
        let known = self.known.read().get(model).cloned();
        let mut renewed = match known {
            // Its cached rows are still of use.
            Some(known) if known.text == text && known.inputs == metadata.inputs => known,
            _ => Known {
                plans: Arc::new(self.plan(text.as_deref(), &metadata)),
                text,
                inputs: metadata.inputs,
                read: Instant::now(),
            },
        };
        renewed.read = Instant::now();
        let plans = Arc::clone(&renewed.plans);
        let mut known = self.known.write();
        if known.len() >= MAX_MODELS {
            known.clear();
        }
        known.insert(model.clone(), renewed);
        Some(plans)
    }

    /// What a model's configuration says, and what it takes.
    fn read(&self, model: &ModelRef) -> Option<(Option<String>, ModelMetadata)> {
        let metadata = self.inner.model_metadata(model).ok()?;
        let document = self.inner.model_config(model).ok()?;
        let mut document: Document = serde_json::from_slice(&document.json).unwrap_or_default();
        let text = document.parameters.remove("lookup").map(|parameter| parameter.string_value);
        Some((text, metadata))
    }

    fn plan(&self, text: Option<&str>, metadata: &ModelMetadata) -> Result<Vec<Plan>, String> {
        let Some(text) = text else { return Ok(Vec::new()) };
        let plans = parse(text).and_then(|lookups| {
            lookups
                .iter()
                .map(|lookup| Plan::new(lookup, metadata, &self.lookups))
                .collect::<Result<Vec<_>, _>>()
        });
        if let Err(reason) = &plans {
            tracing::error!(model = %metadata.name, %reason, "the parameter \"lookup\" of a model is at fault");
        }
        plans
    }

    /// The request with everything in it that is looked up.
    async fn enriched(
        &self,
        mut request: InferRequest,
        plans: &Result<Vec<Plan>, String>,
    ) -> Result<InferRequest, LookupError> {
        let plans = plans.as_ref().map_err(|reason| LookupError::Configuration {
            model: request.model.name.clone(),
            reason: format!("parameter \"lookup\": {reason}"),
        })?;
        for plan in plans {
            plan.enrich(&mut request).await?;
        }
        Ok(request)
    }
}

/// Whether there is nothing to look up.
fn is_plain(plans: &Result<Vec<Plan>, String>) -> bool {
    plans.as_ref().is_ok_and(Vec::is_empty)
}

impl DelegatingService for Enriching {
    fn inner(&self) -> &dyn InferenceService {
        &*self.inner
    }

    fn infer(&self, request: InferRequest) -> BoxFuture<'_, Result<InferResponse, Fault>> {
        let Some(plans) = self.plans(&request.model).filter(|plans| !is_plain(plans)) else {
            return self.inner.infer(request);
        };
        Box::pin(async move {
            let request = self.enriched(request, &plans).await?;
            self.inner.infer(request).await
        })
    }

    fn infer_stream(&self, request: InferRequest) -> ResponseStream<'_> {
        let Some(plans) = self.plans(&request.model).filter(|plans| !is_plain(plans)) else {
            return self.inner.infer_stream(request);
        };
        if !self.inner.decoupled(&request.model) {
            return one_response(DelegatingService::infer(self, request));
        }
        let answers = async move {
            let request = self.enriched(request, &plans).await?;
            Ok::<_, Fault>(self.inner.infer_stream(request))
        };
        Box::pin(stream::once(answers).try_flatten())
    }

    fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata, Fault> {
        let mut metadata = self.inner.model_metadata(model)?;
        if let Some(Ok(plans)) = self.plans(model).as_deref() {
            for plan in plans {
                plan.show(&mut metadata.inputs);
            }
        }
        Ok(metadata)
    }

    fn load_model(&self, request: LoadModel) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let name = request.name.clone();
            let outcome = self.inner.load_model(request).await;
            self.known.write().retain(|model, _| model.name != name);
            outcome
        })
    }
}
