//! What is said when a connection opens: which model, and what it is like. Once for each connection, as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use adulis_backend::{
    Batching, EngineOptions, ExecutionProvider, GraphOptimization, LoadRequest, Model, ModelSignature,
    TensorSpec,
};
use adulis_tensor::ShapePattern;
use serde::{Deserialize, Serialize};

/// Asks for an instance of a model, or only whether its backend can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    pub(crate) backend: String,
    /// The limit of a body, for both sides.
    pub(crate) max_body_bytes: usize,
    /// `None` to ask for the backend only.
    pub(crate) model: Option<WireRequest>,
}

/// A [`LoadRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireRequest {
    name: String,
    version: u64,
    path: PathBuf,
    declared: Option<WireSignature>,
    options: WireOptions,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    inputs: Vec<WireSpec>,
    outputs: Vec<WireSpec>,
    batching: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSpec {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireOptions {
    graph_optimization: u8,
    providers: Vec<(String, BTreeMap<String, String>)>,
    provider_fallback: bool,
    device_id: Option<u32>,
    intra_op_threads: usize,
    arena: bool,
    arena_limit_bytes: Option<u64>,
    optimized_cache: Option<PathBuf>,
    parameters: BTreeMap<String, String>,
}

/// What a model says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opened {
    signature: WireSignature,
    pub(crate) placement: String,
    pub(crate) keeps_state: bool,
    pub(crate) reads_requests: bool,
    pub(crate) is_decoupled: bool,
    pub(crate) prefers_fixed_batches: bool,
}

const LEVELS: [GraphOptimization; 4] = [
    GraphOptimization::Disabled,
    GraphOptimization::Basic,
    GraphOptimization::Extended,
    GraphOptimization::All,
];

impl From<&LoadRequest> for WireRequest {
    fn from(request: &LoadRequest) -> Self {
        let LoadRequest { name, version, path, declared, options } = request;
        let declared = declared.as_ref().map(WireSignature::from);
        Self {
            name: (**name).to_owned(),
            version: *version,
            path: path.clone(),
            declared,
            options: WireOptions::from(options),
        }
    }
}

impl WireRequest {
    /// The request; `None` where it says what there is not.
    pub(crate) fn read(self) -> Option<LoadRequest> {
        let declared = match self.declared {
            Some(declared) => Some(declared.read()?),
            None => None,
        };
        Some(LoadRequest {
            name: self.name.into(),
            version: self.version,
            path: self.path,
            declared,
            options: self.options.read()?,
        })
    }
}

impl From<&EngineOptions> for WireOptions {
    fn from(options: &EngineOptions) -> Self {
        // Taken apart whole, so that nobody forgets a new option here.
        let EngineOptions {
            graph_optimization,
            providers,
            provider_fallback,
            device_id,
            intra_op_threads,
            arena,
            arena_limit_bytes,
            optimized_cache,
            parameters,
        } = options.clone();
        let level = LEVELS.iter().position(|level| *level == graph_optimization).unwrap_or(LEVELS.len() - 1);
        Self {
            graph_optimization: u8::try_from(level).unwrap_or_default(),
            providers: providers.into_iter().map(|provider| (provider.name, provider.options)).collect(),
            provider_fallback,
            device_id,
            intra_op_threads,
            arena,
            arena_limit_bytes,
            optimized_cache,
            parameters,
        }
    }
}

impl WireOptions {
    fn read(self) -> Option<EngineOptions> {
        let provider = |(name, options)| ExecutionProvider { name, options };
        Some(EngineOptions {
            graph_optimization: *LEVELS.get(usize::from(self.graph_optimization))?,
            providers: self.providers.into_iter().map(provider).collect(),
            provider_fallback: self.provider_fallback,
            device_id: self.device_id,
            intra_op_threads: self.intra_op_threads,
            arena: self.arena,
            arena_limit_bytes: self.arena_limit_bytes,
            optimized_cache: self.optimized_cache,
            parameters: self.parameters,
        })
    }
}

impl From<&ModelSignature> for WireSignature {
    fn from(signature: &ModelSignature) -> Self {
        let ModelSignature { inputs, outputs, batching } = signature;
        let specs = |specs: &[TensorSpec]| specs.iter().map(WireSpec::from).collect();
        Self {
            inputs: specs(inputs),
            outputs: specs(outputs),
            batching: *batching == Batching::Possible,
        }
    }
}

impl WireSignature {
    fn read(self) -> Option<ModelSignature> {
        let specs = |specs: Vec<WireSpec>| specs.into_iter().map(WireSpec::read).collect::<Option<Vec<_>>>();
        Some(ModelSignature {
            inputs: specs(self.inputs)?,
            outputs: specs(self.outputs)?,
            batching: if self.batching { Batching::Possible } else { Batching::No },
        })
    }
}

impl From<&TensorSpec> for WireSpec {
    fn from(spec: &TensorSpec) -> Self {
        let TensorSpec { name, datatype, shape, optional } = spec;
        Self {
            name: (**name).to_owned(),
            datatype: datatype.as_str().to_owned(),
            shape: shape.to_vec(),
            optional: *optional,
        }
    }
}

impl WireSpec {
    fn read(self) -> Option<TensorSpec> {
        Some(TensorSpec {
            name: self.name.into(),
            datatype: self.datatype.parse().ok()?,
            shape: ShapePattern::new(&self.shape),
            optional: self.optional,
        })
    }
}

impl Opened {
    pub(crate) fn of(model: &dyn Model) -> Self {
        Self {
            signature: WireSignature::from(model.signature()),
            placement: model.placement(),
            keeps_state: model.keeps_state(),
            reads_requests: model.reads_requests(),
            is_decoupled: model.is_decoupled(),
            prefers_fixed_batches: model.prefers_fixed_batches(),
        }
    }

    /// The same with its signature as it was understood.
    pub(crate) fn reread(self) -> Option<Self> {
        Some(Self { signature: WireSignature::from(&self.signature()?), ..self })
    }

    /// The model's signature; `None` where it says what there is not.
    pub(crate) fn signature(&self) -> Option<ModelSignature> {
        self.signature.clone().read()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use adulis_tensor::DataType;

    use super::*;

    fn signature() -> ModelSignature {
        let spec = |name: &str, datatype, shape: &[i64]| TensorSpec {
            name: name.into(),
            datatype,
            shape: ShapePattern::new(shape),
            optional: name.is_empty(),
        };
        ModelSignature {
            inputs: vec![
                spec("a", DataType::Fp32, &[-1, 3]),
                spec("", DataType::Bytes, &[]),
            ],
            outputs: vec![spec("é\"", DataType::Bool, &[7])],
            batching: Batching::Possible,
        }
    }

    #[test]
    fn a_request_arrives_as_it_was() {
        let request = LoadRequest {
            name: "m".into(),
            version: u64::MAX,
            path: Path::new("/models/m/1").to_owned(),
            declared: Some(signature()),
            options: EngineOptions {
                graph_optimization: GraphOptimization::Extended,
                providers: vec![ExecutionProvider {
                    name: "cuda".to_owned(),
                    options: BTreeMap::from([("device_id".to_owned(), "1".to_owned())]),
                }],
                provider_fallback: true,
                device_id: Some(3),
                intra_op_threads: 4,
                arena: false,
                arena_limit_bytes: Some(1 << 40),
                optimized_cache: Some("/cache".into()),
                parameters: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            },
        };
        let json = serde_json::to_vec(&WireRequest::from(&request)).unwrap();
        let read = serde_json::from_slice::<WireRequest>(&json).unwrap().read().unwrap();
        assert_eq!((read.name, read.version, read.path), (request.name, request.version, request.path));
        assert_eq!((read.declared, read.options), (request.declared, request.options));
    }

    #[test]
    fn a_datatype_or_level_that_there_is_not_is_refused() {
        let mut spec = WireSpec::from(&signature().inputs[0]);
        spec.datatype = "FP8".to_owned();
        assert_eq!(spec.read(), None);
        let options = WireOptions { graph_optimization: 4, ..WireOptions::from(&EngineOptions::default()) };
        assert_eq!(options.read(), None);
    }
}
