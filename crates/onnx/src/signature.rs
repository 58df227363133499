use adulis_backend::{BackendError, Batching, ModelSignature, TensorSpec};
use adulis_tensor::ShapePattern;

use crate::api::OrtError;
use crate::datatype::datatype_of;
use crate::session::{Session, Side, TensorType};

/// A signature and the names of the leading dimensions, before it is decided whether the model batches.
struct Declared {
    spec: TensorSpec,
    leading: Leading,
}

/// What a leading dimension says about batching.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leading {
    Fixed,
    Open,
    Named(String),
}

/// Why a signature could not be read.
pub(crate) enum SignatureError {
    Engine(OrtError),
    Unsupported(BackendError),
}

impl From<OrtError> for SignatureError {
    fn from(error: OrtError) -> Self {
        Self::Engine(error)
    }
}

/// Reads inputs and outputs from a session: required inputs first, then those with an initialiser, as optional ones.
///
/// # Errors
/// [`BackendError::Unsupported`] naming the input or output that is no tensor or has a datatype that the protocol does
/// not have. An optional input like that is left out instead: it keeps its initialiser.
pub(crate) fn read(session: &Session) -> Result<ModelSignature, SignatureError> {
    let mut inputs = declared(session, Side::Input)?;
    inputs.extend(declared(session, Side::Overridable)?);
    let outputs = declared(session, Side::Output)?;
    let batching = batching(inputs.iter().chain(&outputs).map(|declared| &declared.leading));
    let specs = |declared: Vec<Declared>| declared.into_iter().map(|declared| declared.spec).collect();
    Ok(ModelSignature { inputs: specs(inputs), outputs: specs(outputs), batching })
}

fn declared(session: &Session, side: Side) -> Result<Vec<Declared>, SignatureError> {
    let mut found = Vec::new();
    for index in 0..session.count(side)? {
        let name = session.name(side, index)?;
        let tensor = session.type_info(side, index)?.tensor()?;
        let datatype = match tensor {
            Ok(tensor) => datatype_of(tensor.element)
                .map(|datatype| (tensor, datatype))
                .map_err(|element| format!("of {element}")),
            Err(kind) => Err(kind.to_owned()),
        };
        match datatype {
            Ok((tensor, datatype)) => found.push(Declared {
                leading: leading(&tensor),
                spec: TensorSpec {
                    name: name.into(),
                    datatype,
                    shape: ShapePattern::new(&tensor.dimensions),
                    optional: side == Side::Overridable,
                },
            }),
            Err(_) if side == Side::Overridable => {}
            Err(what) => {
                let side = if side == Side::Input { "input" } else { "output" };
                return Err(SignatureError::Unsupported(BackendError::Unsupported {
                    what: format!(
                        "{side} {name:?} is {what}; supported are tensors of the protocol's datatypes"
                    ),
                }));
            }
        }
    }
    Ok(found)
}

fn leading(tensor: &TensorType) -> Leading {
    match (tensor.dimensions.first(), tensor.names.first()) {
        (Some(&dimension), _) if dimension >= 0 => Leading::Fixed,
        (Some(_), Some(name)) if !name.is_empty() => Leading::Named(name.clone()),
        (Some(_), _) => Leading::Open,
        (None, _) => Leading::Fixed,
    }
}

/// Possible only where every leading dimension is open and no two have different names.
fn batching<'a>(leading: impl Iterator<Item = &'a Leading>) -> Batching {
    let mut name: Option<&str> = None;
    let mut any = false;
    for leading in leading {
        any = true;
        match leading {
            Leading::Fixed => return Batching::No,
            Leading::Open => {}
            Leading::Named(other) if name.is_none_or(|name| name == other) => name = Some(other),
            Leading::Named(_) => return Batching::No,
        }
    }
    if any { Batching::Possible } else { Batching::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batching_needs_open_leading_dimensions_of_one_name() {
        let named = |name: &str| Leading::Named(name.to_owned());
        let of = |leading: &[Leading]| batching(leading.iter());
        assert_eq!(of(&[Leading::Open, named("N"), named("N")]), Batching::Possible);
        assert_eq!(of(&[Leading::Open, Leading::Open]), Batching::Possible);
        assert_eq!(of(&[named("N"), named("M")]), Batching::No);
        assert_eq!(of(&[named("N"), Leading::Fixed]), Batching::No);
        assert_eq!(of(&[]), Batching::No);
    }
}
