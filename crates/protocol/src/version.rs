use adulis_types::{ModelRef, Name};

use crate::error::{Parsed, excerpt};
use crate::{DecodeError, Problem};

/// The model that a request names: versions are text in both protocols, and none, or an empty one, leaves the choice to
/// the version policy.
///
/// # Errors
/// [`Problem::Version`] for a version that is not a whole number of 1 or more.
pub fn model_ref(name: impl Into<Name>, version: Option<&str>) -> Result<ModelRef, DecodeError> {
    let name = name.into();
    let version = match version {
        None | Some("") => None,
        Some(text) => match parse(text) {
            Some(version) => Some(version),
            None => {
                return Err(DecodeError::new(name, Problem::Version { got: excerpt(text.as_bytes()) }));
            }
        },
    };
    Ok(ModelRef { name, version })
}

fn parse(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&version| version > 0)
}

/// Refuses a body that names another model, or another version of it, than its path does.
pub(crate) fn agree(path: &ModelRef, name: &str, version: Option<u64>) -> Parsed<()> {
    if name != path.name {
        return Err(Box::new(Problem::OtherModel { got: excerpt(name.as_bytes()) }));
    }
    match (path.version, version) {
        (Some(path), Some(got)) if path != got => Err(Box::new(Problem::OtherVersion { path, got })),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_from_one() {
        assert_eq!(model_ref("m", None).unwrap().version, None);
        assert_eq!(model_ref("m", Some("")).unwrap().version, None);
        assert_eq!(model_ref("m", Some("12")).unwrap().version, Some(12));
        for wrong in ["0", "-1", "+1", "1.0", "latest", "99999999999999999999"] {
            let error = model_ref("m", Some(wrong)).unwrap_err().to_string();
            assert_eq!(error, format!("model 'm': expected a version number of 1 or more, got '{wrong}'"));
        }
    }
}
