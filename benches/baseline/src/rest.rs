use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;
use tokio::net::TcpListener;

/// The handler that ratios are taken against: reads the body and answers with it.
pub(crate) async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let echo = || post(|body: Bytes| async move { body });
    let router = Router::new()
        .route("/v2/health/ready", get(|| async {}))
        .route("/echo", echo())
        .fallback_service(echo().with_state(()))
        .layer(DefaultBodyLimit::disable());
    let listener = listener.tap_io(|stream| {
        // Without it an answer in two pieces may wait for the client's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("TCP_NODELAY: {error}");
        }
    });
    axum::serve(listener, router).await?;
    Ok(())
}
