use std::sync::Arc;

use adulis_telemetry::MetricsFormat;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, header};

use crate::router::json;

/// Writes all metrics in a format.
pub type RenderMetrics = Arc<dyn Fn(MetricsFormat) -> String + Send + Sync>;

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
    let format = if open { MetricsFormat::OpenMetrics } else { MetricsFormat::Text };
    ([(header::CONTENT_TYPE, format.content_type())], render(format)).into_response()
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
        let router = metrics_router(Arc::new(|format| format!("{format:?}")));
        for (accept, expected) in [
            ("text/html", MetricsFormat::Text),
            ("*/*", MetricsFormat::Text),
            ("application/openmetrics-text; version=1.0.0,text/plain;q=0.5", MetricsFormat::OpenMetrics),
        ] {
            let request = Request::get("/metrics").header("accept", accept).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.headers()["content-type"], expected.content_type());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("{expected:?}"));
        }
    }
}
