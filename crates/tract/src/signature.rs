use std::collections::HashSet;

use adulis_backend::{BackendError, Batching, ModelSignature, TensorSpec};
use adulis_tensor::{DataType, ShapePattern};
use tract_onnx::pb::tensor_proto::DataType as Element;
use tract_onnx::pb::tensor_shape_proto::Dimension;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Extent;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{GraphProto, ValueInfoProto};

use crate::convert::datum_of;

/// One graph input or output as its file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) datatype: DataType,
    /// `None` where the file does not say.
    pub(crate) dimensions: Option<Vec<Axis>>,
}

/// One declared dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Axis {
    Fixed(i64),
    Named(String),
    Open,
}

/// The graph's real inputs: those with an initialiser are constants to this engine.
pub(crate) fn inputs(graph: &GraphProto) -> Result<Vec<Declared>, BackendError> {
    let initialised: HashSet<_> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    graph
        .input
        .iter()
        .filter(|input| !initialised.contains(input.name.as_str()))
        .map(|input| declared("input", input))
        .collect()
}

/// The graph's outputs.
pub(crate) fn outputs(graph: &GraphProto) -> Result<Vec<Declared>, BackendError> {
    graph.output.iter().map(|output| declared("output", output)).collect()
}

fn declared(side: &str, info: &ValueInfoProto) -> Result<Declared, BackendError> {
    let unsupported = |what: String| BackendError::Unsupported {
        what: format!(
            "{side} {:?} is {what}; supported are tensors of the protocol's datatypes but BF16",
            info.name
        ),
    };
    let Some(Kind::TensorType(tensor)) = info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Err(unsupported("no tensor".to_owned()));
    };
    let datatype = datatype_of(tensor.elem_type)
        .filter(|&datatype| datum_of(datatype).is_some())
        .ok_or_else(|| {
            let element = Element::try_from(tensor.elem_type);
            unsupported(element.map_or_else(
                |_| format!("of ONNX type {}", tensor.elem_type),
                |element| format!("of {element:?}").to_lowercase(),
            ))
        })?;
    Ok(Declared {
        name: info.name.clone(),
        datatype,
        dimensions: tensor.shape.as_ref().map(|shape| shape.dim.iter().map(axis_of).collect()),
    })
}

fn axis_of(dimension: &Dimension) -> Axis {
    match &dimension.value {
        Some(Extent::DimValue(extent)) if *extent >= 0 => Axis::Fixed(*extent),
        Some(Extent::DimParam(name)) if !name.is_empty() => Axis::Named(name.clone()),
        _ => Axis::Open,
    }
}

fn datatype_of(element: i32) -> Option<DataType> {
    Some(match Element::try_from(element).ok()? {
        Element::Float => DataType::Fp32,
        Element::Uint8 => DataType::Uint8,
        Element::Int8 => DataType::Int8,
        Element::Uint16 => DataType::Uint16,
        Element::Int16 => DataType::Int16,
        Element::Int32 => DataType::Int32,
        Element::Int64 => DataType::Int64,
        Element::String => DataType::Bytes,
        Element::Bool => DataType::Bool,
        Element::Float16 => DataType::Fp16,
        Element::Double => DataType::Fp64,
        Element::Uint32 => DataType::Uint32,
        Element::Uint64 => DataType::Uint64,
        Element::Bfloat16 => DataType::Bf16,
        _ => return None,
    })
}

/// The model's signature. `output_shape` tells the shape of an output whose file does not.
pub(crate) fn signature(
    inputs: &[Declared],
    outputs: &[Declared],
    output_shape: impl Fn(usize) -> Vec<Axis>,
) -> ModelSignature {
    let outputs: Vec<_> = outputs
        .iter()
        .enumerate()
        .map(|(index, output)| Declared {
            dimensions: Some(output.dimensions.clone().unwrap_or_else(|| output_shape(index))),
            ..output.clone()
        })
        .collect();
    let specs = |declared: &[Declared]| declared.iter().map(spec_of).collect();
    ModelSignature {
        inputs: specs(inputs),
        outputs: specs(&outputs),
        batching: batching(inputs.iter().chain(&outputs)),
    }
}

fn spec_of(declared: &Declared) -> TensorSpec {
    let dimensions = declared.dimensions.iter().flatten().map(|axis| match axis {
        Axis::Fixed(extent) => *extent,
        Axis::Named(_) | Axis::Open => -1,
    });
    TensorSpec {
        name: declared.name.as_str().into(),
        datatype: declared.datatype,
        shape: ShapePattern::new(&dimensions.collect::<Vec<_>>()),
        optional: false,
    }
}

/// Possible only where every leading dimension is open and no two have different names.
fn batching<'a>(declared: impl Iterator<Item = &'a Declared>) -> Batching {
    let mut name: Option<&str> = None;
    let mut any = false;
    for declared in declared {
        any = true;
        match declared.dimensions.as_deref().and_then(<[Axis]>::first) {
            Some(Axis::Open) => {}
            Some(Axis::Named(other)) if name.is_none_or(|name| name == other) => name = Some(other),
            _ => return Batching::No,
        }
    }
    if any { Batching::Possible } else { Batching::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batching_needs_open_leading_dimensions_of_one_name() {
        let of = |axes: &[Axis]| {
            let declared: Vec<_> = axes
                .iter()
                .map(|axis| Declared {
                    name: String::new(),
                    datatype: DataType::Fp32,
                    dimensions: Some(vec![axis.clone()]),
                })
                .collect();
            batching(declared.iter())
        };
        let named = |name: &str| Axis::Named(name.to_owned());
        assert_eq!(of(&[Axis::Open, named("N"), named("N")]), Batching::Possible);
        assert_eq!(of(&[named("N"), named("M")]), Batching::No);
        assert_eq!(of(&[named("N"), Axis::Fixed(1)]), Batching::No);
        assert_eq!(of(&[]), Batching::No);
    }
}
