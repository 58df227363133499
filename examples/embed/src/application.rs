use adulis::Adulis;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;

use crate::{Counted, Reverse};

/// The server: the models under `models`, this application's backend beside those that come along, and its count of answers
/// around the engine.
///
/// # Errors
/// If `models` holds no model repository.
pub fn adulis(models: &str, counted: &Counted) -> anyhow::Result<Adulis> {
    let counted = counted.clone();
    let adulis = Adulis::builder()
        .models(models)
        .backend(Reverse)
        .wrap(move |engine| counted.around(engine))
        .build()?;
    Ok(adulis)
}

/// The application: `GET /hello` and `GET /answers` are its own; `/v2/…` and the gRPC service are Adulis's; every response,
/// whoever made it, passes its middleware.
pub fn app(adulis: &Adulis, counted: &Counted) -> Router {
    let counted = counted.clone();
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/answers", get(move || async move { counted.answers().to_string() }))
        .merge(adulis.rest())
        .merge(adulis.grpc())
        .layer(from_fn(sign))
}

async fn sign(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("my-application"));
    response
}
