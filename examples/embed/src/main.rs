//! `cargo run -p embed -- examples/embed/models`: an Axum application that serves models, on port 3000.

use embed::Counted;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let models = std::env::args().nth(1).unwrap_or_else(|| "examples/embed/models".to_owned());
    let counted = Counted::default();
    let adulis = embed::adulis(&models, &counted)?;
    let app = embed::app(&adulis, &counted);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    // Health answers while the models load; readiness follows.
    tokio::task::spawn_blocking(move || adulis.load());
    axum::serve(listener, app).await?;
    Ok(())
}
