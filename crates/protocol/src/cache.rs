//! What is asked of the response cache beside answers.

use adulis_types::{CacheControl, CacheReport, ErrorKind, Failure, Fault, Services};

/// What the response cache holds and has done.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where there is none.
pub fn cache_report(services: &Services) -> Result<CacheReport, Fault> {
    Ok(cache(services)?.report())
}

/// Purges what is known of a model, or of all. Returns how many answers were forgotten.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where there is no cache, [`ErrorKind::NotFound`] for a model that has none.
pub fn purge_cache(services: &Services, model: Option<&str>) -> Result<u64, Fault> {
    cache(services)?.purge(model)
}

fn cache(services: &Services) -> Result<&dyn CacheControl, Fault> {
    let off = || Failure::new(ErrorKind::Unsupported, "the response cache is off (cache.memory_bytes)");
    services.cache.as_deref().ok_or_else(|| off().into())
}
