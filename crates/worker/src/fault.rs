use adulis_backend::BackendError;
use serde::{Deserialize, Serialize};

/// An engine's error on its way from a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Fault {
    Unavailable { reason: String },
    Load { path: String, reason: String },
    Option { option: String, reason: String },
    Unsupported { what: String },
    Execution { reason: String },
    Input { reason: String },
    Interrupted,
    Broken { reason: String },
    Panicked { reason: String },
}

/// Longest reason that is passed on.
const MAX_REASON_BYTES: usize = 4096;

impl From<BackendError> for Fault {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Unavailable { reason, .. } => Self::Unavailable { reason },
            BackendError::Load { path, reason } => Self::Load { path, reason },
            BackendError::Option { option, reason } => Self::Option { option, reason },
            BackendError::Unsupported { what } => Self::Unsupported { what },
            BackendError::Execution { reason } => Self::Execution { reason },
            BackendError::Input { reason } => Self::Input { reason },
            BackendError::Interrupted => Self::Interrupted,
            BackendError::Broken { reason } => Self::Broken { reason },
        }
    }
}

impl Fault {
    /// As the backend of this name would have said it.
    pub(crate) fn into_error(self, backend: &'static str) -> BackendError {
        match self {
            Self::Unavailable { reason } => BackendError::Unavailable { backend, reason },
            Self::Load { path, reason } => BackendError::Load { path, reason },
            Self::Option { option, reason } => BackendError::Option { option, reason },
            Self::Unsupported { what } => BackendError::Unsupported { what },
            Self::Execution { reason } => BackendError::Execution { reason },
            Self::Input { reason } => BackendError::Input { reason },
            Self::Interrupted => BackendError::Interrupted,
            Self::Broken { reason } => BackendError::Broken { reason },
            Self::Panicked { reason } => BackendError::Broken { reason: format!("it panicked: {reason}") },
        }
    }

    /// As JSON, its texts cut to what is bearable.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let short = |text: &String| text[..text.floor_char_boundary(MAX_REASON_BYTES)].to_owned();
        let bounded = match self {
            Self::Unavailable { reason } => Self::Unavailable { reason: short(reason) },
            Self::Load { path, reason } => Self::Load { path: short(path), reason: short(reason) },
            Self::Option { option, reason } => Self::Option { option: short(option), reason: short(reason) },
            Self::Unsupported { what } => Self::Unsupported { what: short(what) },
            Self::Execution { reason } => Self::Execution { reason: short(reason) },
            Self::Input { reason } => Self::Input { reason: short(reason) },
            Self::Interrupted => Self::Interrupted,
            Self::Broken { reason } => Self::Broken { reason: short(reason) },
            Self::Panicked { reason } => Self::Panicked { reason: short(reason) },
        };
        serde_json::to_vec(&bounded).unwrap_or_default()
    }

    pub(crate) fn from_json(head: &[u8]) -> Option<Self> {
        serde_json::from_slice(head).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_arrives_as_it_was() {
        let error = || BackendError::Load { path: "/m/model.onnx".to_owned(), reason: "é".repeat(5000) };
        let told = Fault::from_json(&Fault::from(error()).to_json()).unwrap().into_error("x").to_string();
        assert!(error().to_string().starts_with(&told) && told.len() > MAX_REASON_BYTES, "{told}");
        let fault =
            Fault::from(BackendError::Unavailable { backend: "onnxruntime", reason: "gone".to_owned() });
        let told = Fault::from_json(&fault.to_json()).unwrap().into_error("onnxruntime").to_string();
        assert_eq!(told, "backend onnxruntime is not available: gone");
        assert_eq!(Fault::from_json(b"{\"Execution\":{}}"), None);
    }
}
