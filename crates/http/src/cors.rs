use std::time::Duration;

use axum::Router;
use http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::exchange::HEADER_LENGTH;

/// What pages of other origins may do. Without it browsers let them read nothing.
///
/// Source: WHATWG Fetch, "CORS protocol".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsOptions {
    /// Which origins.
    pub origins: CorsOrigins,
    /// Which headers their requests may have, beside those that any may.
    pub headers: Vec<HeaderName>,
    /// How long browsers remember the answer.
    pub max_age: Duration,
}

/// The origins of pages that may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// All.
    Any,
    /// These, such as `https://app.example`.
    These(Vec<HeaderValue>),
}

/// The router with answers to browsers' questions about other origins. A router without it pays nothing for it.
pub fn with_cors(router: Router, options: &CorsOptions) -> Router {
    let origins = match &options.origins {
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::These(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(options.headers.clone())
        .expose_headers([HEADER_LENGTH, HeaderName::from_static("x-request-id")])
        .max_age(options.max_age);
    router.layer(layer)
}
