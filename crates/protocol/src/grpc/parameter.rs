use std::collections::BTreeMap;

use adulis_types::{ParameterValue, Parameters, RegionPlace};

use crate::error::Parsed;
use crate::grpc::InferParameter;
use crate::grpc::infer_parameter::ParameterChoice;
use crate::parameters::{is_of_place, take_place};
use crate::{MAX_PARAMETERS, Problem, TensorLabel};

/// The parameters of a message. One whose value is of no known type is refused.
pub(super) fn decode(map: BTreeMap<String, InferParameter>) -> Parsed<Parameters> {
    if map.len() > MAX_PARAMETERS {
        return Err(Box::new(Problem::TooMany { what: "parameters", limit: MAX_PARAMETERS }));
    }
    let mut parameters = Parameters::default();
    for (name, value) in map {
        let value = match value.parameter_choice {
            Some(ParameterChoice::BoolParam(value)) => ParameterValue::Bool(value),
            Some(ParameterChoice::Int64Param(value)) => ParameterValue::Int64(value),
            Some(ParameterChoice::StringParam(value)) => ParameterValue::String(value.into()),
            Some(ParameterChoice::DoubleParam(value)) => ParameterValue::Double(value),
            Some(ParameterChoice::Uint64Param(value)) => ParameterValue::count(value),
            None => {
                return Err(Box::new(Problem::Parameter {
                    name: name.into(),
                    expected: "a value",
                    found: "none".into(),
                }));
            }
        };
        parameters.set(name, value);
    }
    Ok(parameters)
}

/// Where the tensor with these parameters lies in shared memory, if it does. Others say nothing to any engine, and are let
/// pass as Triton does.
pub(super) fn place(
    map: BTreeMap<String, InferParameter>,
    tensor: impl FnOnce() -> TensorLabel,
) -> Parsed<Option<RegionPlace>> {
    let mut parameters = decode(map.into_iter().filter(|(name, _)| is_of_place(name)).collect())?;
    take_place(&mut parameters, tensor)
}

/// Parameters as a message carries them.
pub(super) fn encode(parameters: &Parameters) -> BTreeMap<String, InferParameter> {
    parameters.iter().map(|(name, value)| (name.to_owned(), parameter(value))).collect()
}

/// One value as a message carries it.
pub(super) fn parameter(value: &ParameterValue) -> InferParameter {
    let choice = match value {
        ParameterValue::Bool(value) => ParameterChoice::BoolParam(*value),
        ParameterValue::Int64(value) => ParameterChoice::Int64Param(*value),
        ParameterValue::Uint64(value) => ParameterChoice::Uint64Param(*value),
        ParameterValue::Double(value) => ParameterChoice::DoubleParam(*value),
        ParameterValue::String(value) => ParameterChoice::StringParam(value.to_string()),
    };
    InferParameter { parameter_choice: Some(choice) }
}
