use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use adulis_backend::GraphOptimization;
use adulis_tensor::Shape;
use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    Framework, InferenceModel, InferenceModelExt, IntoRunnable, TractError, TypedModel, TypedRunnableModel,
};
use tract_onnx::tract_hir::infer::{Factoid, InferenceFact};
use tract_onnx::tract_hir::internal::{DimFact, GenericFactoid, ShapeFactoid, TDim, ToDim};

use crate::signature::{Axis, Declared};

/// A plan that can be run.
pub(crate) type Plan = Arc<TypedRunnableModel>;

/// How open dimensions become symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbols {
    /// Leading dimensions without a name are one and the same: a batch.
    SharedBatch,
    /// Each dimension without a name is its own.
    Separate,
}

/// A parsed model file: the graph before shapes are known.
pub(crate) struct Graph {
    model: InferenceModel,
    inputs: Vec<Declared>,
    level: GraphOptimization,
}

/// Reads a model file. It is read rather than mapped: a file that somebody cuts short while it is mapped ends the
/// process.
pub(crate) fn read(path: &Path) -> Result<ModelProto, TractError> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Err(TractError::msg("the file is empty"));
    }
    tract_onnx::onnx().proto_model_for_read(&mut bytes.as_slice())
}

impl Graph {
    /// Parses `proto`; weights in other files are looked for in `folder`.
    pub(crate) fn new(
        proto: &ModelProto,
        folder: Option<&Path>,
        (inputs, level): (Vec<Declared>, GraphOptimization),
    ) -> Result<Self, TractError> {
        let onnx: Onnx = tract_onnx::onnx();
        let parsed = onnx.parse(proto, folder.and_then(Path::to_str))?;
        if !parsed.unresolved_inputs.is_empty() {
            let names = parsed.unresolved_inputs.join(", ");
            return Err(TractError::msg(format!("nothing produces {names}")));
        }
        Ok(Self { model: parsed.model, inputs, level })
    }

    /// A plan for every shape, its open dimensions symbols.
    pub(crate) fn symbolic(&self, symbols: Symbols) -> Result<Plan, TractError> {
        let mut model = self.model.clone();
        for (index, input) in self.inputs.iter().enumerate() {
            let axes = input
                .dimensions
                .as_deref()
                .ok_or_else(|| TractError::msg(format!("input {:?} has no declared rank", input.name)))?;
            let declared = model.input_fact(index)?.shape.clone();
            let shape: Vec<TDim> = axes
                .iter()
                .enumerate()
                .map(|(place, axis)| match (axis, declared.dim(place).and_then(|dim| dim.concretize())) {
                    (Axis::Fixed(extent), _) => extent.to_dim(),
                    (_, Some(known)) => known,
                    _ if place == 0 && symbols == Symbols::SharedBatch => model.sym("adulis_batch").to_dim(),
                    _ => model.new_sym_with_prefix("adulis_open").to_dim(),
                })
                .collect();
            self.set_input(&mut model, index, shape)?;
        }
        self.plan(model)
    }

    /// A plan for exactly these input shapes.
    pub(crate) fn concrete(&self, shapes: &[Shape]) -> Result<Plan, TractError> {
        let mut model = self.model.clone();
        for (index, shape) in shapes.iter().enumerate() {
            self.set_input(&mut model, index, shape.iter().map(ToDim::to_dim).collect())?;
        }
        self.plan(model)
    }

    fn set_input(
        &self,
        model: &mut InferenceModel,
        index: usize,
        shape: Vec<TDim>,
    ) -> Result<(), TractError> {
        let datum = self
            .inputs
            .get(index)
            .and_then(|input| crate::convert::datum_of(input.datatype))
            .ok_or_else(|| TractError::msg(format!("there is no input {index}")))?;
        let dimensions = shape.into_iter().map(|dimension| GenericFactoid::Only(dimension) as DimFact);
        let fact = InferenceFact::dt_shape(datum, ShapeFactoid::closed(dimensions.collect()));
        model.set_input_fact(index, fact)
    }

    fn plan(&self, model: InferenceModel) -> Result<Plan, TractError> {
        let typed: TypedModel = match self.level {
            GraphOptimization::Disabled => model.into_typed()?,
            GraphOptimization::Basic => model.into_typed()?.into_decluttered()?,
            GraphOptimization::Extended | GraphOptimization::All => model.into_optimized()?,
        };
        typed.into_runnable()
    }
}
