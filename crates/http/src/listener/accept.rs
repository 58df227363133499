use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::ListenerOptions;
use super::connection::serve;
use super::connections::Connections;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connections over the limit that are being told so, at a time; further ones are dropped without a word.
const MAX_REFUSALS: usize = 64;
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
retry-after: 1\r\nconnection: close\r\ncontent-length: 43\r\n\r\n{\"error\":\"server has too many connections\"}";

/// Accepts connections for ever. No error ends the loop.
pub(super) async fn accept(
    socket: TcpListener,
    router: Router,
    connections: Arc<Connections>,
    options: Arc<ListenerOptions>,
) {
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut pause = FIRST_PAUSE;
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_of_connection(&error) => continue,
            Err(error) => {
                // Out of file descriptors or memory: trying again at once would only spin.
                tracing::warn!(%error, pause_seconds = pause.as_secs_f64(), "accepting a connection failed");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        };
        pause = FIRST_PAUSE;
        // Fails only for a connection that is gone again, which the first read will tell.
        let _ = stream.set_nodelay(true);
        match connections.enter() {
            Some(place) => {
                tokio::spawn(serve(stream, router.clone(), place, Arc::clone(&options)));
            }
            None => {
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(REFUSAL_PATIENCE, refuse(stream)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// Errors that say something about one connection and nothing about the socket.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Answers 503 and reads until the client closes, so that the answer is not lost to a reset.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(REFUSAL).await?;
    stream.shutdown().await?;
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_has_the_length_it_says() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len()))
                || head.ends_with(&format!("content-length: {}", body.len()))
        );
    }
}
