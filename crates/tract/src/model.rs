use std::path::Path;
use std::sync::Arc;

use adulis_backend::{BackendError, LoadRequest, Model, ModelInstance, ModelSignature};
use tract_onnx::pb::GraphProto;

use crate::graph::{self, Graph};
use crate::guard::{Fault, guarded};
use crate::instance::TractInstance;
use crate::plans::Plans;
use crate::signature::{self, Axis, Declared};

/// File that is looked for where a model's path is a folder.
const FILE_IN_FOLDER: &str = "model.onnx";

/// A loaded model.
pub(crate) struct TractModel {
    signature: Arc<ModelSignature>,
    plans: Arc<Plans>,
}

impl TractModel {
    pub(crate) fn load(request: &LoadRequest) -> Result<Self, BackendError> {
        let path = if request.path.is_dir() {
            request.path.join(FILE_IN_FOLDER)
        } else {
            request.path.clone()
        };
        let failed = |fault: Fault| BackendError::Load {
            path: path.display().to_string(),
            reason: fault.into_reason(),
        };
        let proto = guarded(|| graph::read(&path)).map_err(failed)?;
        let no_graph = GraphProto::default();
        let declared = proto.graph.as_ref().unwrap_or(&no_graph);
        let inputs = signature::inputs(declared)?;
        let outputs = signature::outputs(declared)?;
        if outputs.is_empty() {
            return Err(failed(Fault::Error("it is no ONNX model: it has no graph with outputs".to_owned())));
        }
        let level = request.options.graph_optimization;
        let folder = path
            .parent()
            .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let graph = guarded(|| Graph::new(&proto, folder, (inputs.clone(), level))).map_err(failed)?;
        let sample: Vec<_> = inputs.iter().map(sample_shape).collect();
        let plans = Plans::new(graph, &sample).map_err(failed)?;
        let sample_plan = plans.plan(|| sample.clone()).map_err(failed)?;
        let signature = signature::signature(&inputs, &outputs, |index| {
            let fact = sample_plan.model().output_fact(index);
            let shape = fact.map(|fact| fact.shape.to_tvec()).unwrap_or_default();
            shape.iter().map(|dimension| dimension.to_i64().map_or(Axis::Open, Axis::Fixed)).collect()
        });
        if let Some(reason) = plans.per_shape_reason() {
            tracing::info!(model = %request.name, version = request.version, reason, "plans are made per input shape");
        }
        Ok(Self { signature: Arc::new(signature), plans: Arc::new(plans) })
    }
}

/// The smallest shape that an input can have and that has data.
fn sample_shape(input: &Declared) -> adulis_tensor::Shape {
    let extent = |axis: &Axis| match axis {
        Axis::Fixed(extent) => usize::try_from(*extent).unwrap_or(1),
        Axis::Named(_) | Axis::Open => 1,
    };
    input.dimensions.iter().flatten().map(extent).collect()
}

impl Model for TractModel {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        match self.plans.per_shape_reason() {
            None => "CPU, pure Rust (1 thread)".to_owned(),
            Some(_) => "CPU, pure Rust (1 thread, a plan per input shape)".to_owned(),
        }
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        Ok(Box::new(TractInstance::new(self.signature.clone(), self.plans.clone())))
    }
}
