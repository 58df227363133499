use std::sync::Arc;

use adulis_telemetry::CONTENT_TYPE;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, header};

use crate::router::json;

/// Writes all metrics as OpenMetrics text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// For scrapers that do not ask for OpenMetrics: the same lines are valid in the older format too.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes of the metrics port: `GET /metrics`, and `GET /livez`, which answers as long as the process does.
pub fn metrics_router(render: RenderMetrics) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { json(r#"{"live":true}"#) }))
        .with_state(render)
}

async fn metrics(State(render): State<RenderMetrics>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let content_type = if open { CONTENT_TYPE } else { PLAIN };
    ([(header::CONTENT_TYPE, content_type)], render()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn tells_the_format_that_was_asked_for() {
        let router = metrics_router(Arc::new(|| "# EOF\n".to_owned()));
        for (accept, expected) in [
            ("text/html", PLAIN),
            ("application/openmetrics-text; version=1.0.0,text/plain;q=0.5", CONTENT_TYPE),
        ] {
            let request = Request::get("/metrics").header("accept", accept).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.headers()["content-type"], expected);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "# EOF\n");
        }
    }
}
