use std::sync::Arc;

use adulis_telemetry::MetricsFormat;
use adulis_types::{Asked, Guarded, Operation, Services};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header;

use crate::boundary::{Call, answer};
use crate::rest::enter;
use crate::routes::Routes;

/// Writes all metrics in a format.
pub type RenderMetrics = Arc<dyn Fn(MetricsFormat) -> String + Send + Sync>;

/// What the metrics port tells, and to whom.
pub(crate) struct Metrics {
    guarded: Guarded,
    render: RenderMetrics,
}

/// `GET /metrics`. Of `services` it is asked who may scrape.
pub fn metrics_router(services: impl Into<Services>, render: RenderMetrics) -> Router {
    let metrics = Metrics { guarded: Guarded::new(services), render };
    routes().into_router().with_state(Arc::new(metrics))
}

pub(crate) fn routes() -> Routes<Arc<Metrics>> {
    Routes::new().get("/metrics", Operation::Metrics, scrape)
}

async fn scrape(State(metrics): State<Arc<Metrics>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        enter(&metrics.guarded, &parts, Asked::new(Operation::Metrics, &id)).await?;
        let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        let format = if open { MetricsFormat::OpenMetrics } else { MetricsFormat::Text };
        Ok(([(header::CONTENT_TYPE, format.content_type())], (metrics.render)(format)).into_response())
    })
    .await
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
        let service = Arc::new(adulis_testing::ScriptedService::default());
        let router = metrics_router(service, Arc::new(|format| format!("{format:?}")));
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
