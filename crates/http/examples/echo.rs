//! Compares the listener with `axum::serve`, and the inference route with a bare handler.
//!
//! `cargo run --release -p adulis-http --example echo -- [axum|listener|listener-http1] [ADDRESS]` serves `POST /echo`, which
//! reads a body and sends it back, and `POST /v2/models/echo/infer` over a service that does the same with tensors.
#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::net::SocketAddr;
use std::sync::Arc;

use adulis_http::{HttpOptions, Listener, ListenerOptions, Protocols, router};
use adulis_testing::ScriptedService;
use axum::Router;
use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::Bytes;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_else(|| "listener".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;

    let app = Router::new()
        .route("/echo", post(|body: Bytes| async { body }))
        .merge(router(Arc::new(ScriptedService::default()), HttpOptions::default()));
    println!("{mode} on {address}");
    if mode == "axum" {
        let socket = tokio::net::TcpListener::bind(address).await?;
        let socket = socket.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        return axum::serve(socket, app).await;
    }
    let mut options = ListenerOptions::default();
    if mode == "listener-http1" {
        options.protocols = Protocols::Http1;
    }
    Listener::bind(address, options)?.serve(app, std::future::pending()).await;
    Ok(())
}
