use std::sync::Arc;

use adulis_backend::{Backend, BackendError, LoadRequest, Model};

use crate::model::TractModel;

const NAME: &str = "tract";

/// The pure-Rust engine as a backend. Always available.
///
/// Of the engine options it honours the graph optimisation level (`Basic` leaves the graph's own operators in place,
/// `Extended` and `All` are the same). Thread counts, arenas and the cache of optimised models are hints that it has no
/// use for; an execution provider other than `cpu` is refused, or skipped with a warning where falling back is allowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tract;

impl Backend for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn platform(&self) -> &'static str {
        "tract_onnx"
    }

    fn load(&self, request: &LoadRequest) -> Result<Arc<dyn Model>, BackendError> {
        check_providers(request)?;
        Ok(Arc::new(TractModel::load(request)?))
    }
}

fn check_providers(request: &LoadRequest) -> Result<(), BackendError> {
    let options = &request.options;
    for provider in options.providers.iter().filter(|provider| !provider.name.eq_ignore_ascii_case("cpu")) {
        let reason = "this engine runs on the CPU only";
        if !options.provider_fallback {
            return Err(BackendError::Option {
                option: format!("execution provider {:?}", provider.name),
                reason: reason.to_owned(),
            });
        }
        tracing::warn!(
            model = %request.name,
            version = request.version,
            provider = provider.name,
            reason,
            "execution provider skipped"
        );
    }
    Ok(())
}
