//! Whether the threads that serve requests answer, as a router sees it that other threads serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::boundary::{Call, answer};
use crate::error::HttpError;

/// How long a task may wait for a thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same routes, which are answered 503 while none of the threads of another runtime, which serves requests, has a hand free
/// within a second. To be served by a runtime of its own: probes would wait for those threads, too, else.
pub fn while_answering(router: Router, io: Handle) -> Router {
    let pulse = Pulse { io, asked: AtomicBool::new(false), beats: watch::Sender::default() };
    router.route_layer(middleware::from_fn_with_state(Arc::new(pulse), check))
}

struct Pulse {
    io: Handle,
    /// Whether a task waits for a thread: one is enough, however many ask.
    asked: AtomicBool,
    beats: watch::Sender<()>,
}

impl Pulse {
    async fn beats(self: &Arc<Self>) -> bool {
        let mut beats = self.beats.subscribe();
        if !self.asked.swap(true, Ordering::SeqCst) {
            let pulse = Arc::clone(self);
            self.io.spawn(async move {
                pulse.asked.store(false, Ordering::SeqCst);
                pulse.beats.send_replace(());
            });
        }
        tokio::time::timeout(PATIENCE, beats.changed()).await.is_ok()
    }
}

async fn check(State(pulse): State<Arc<Pulse>>, request: Request, next: Next) -> Response {
    if pulse.beats().await {
        return next.run(request).await;
    }
    let call = Call::begin(&request);
    answer(call, async { Err(HttpError::Unresponsive { within: PATIENCE }.into()) }).await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;

    async fn status(router: &Router) -> StatusCode {
        router
            .clone()
            .oneshot(Request::get("/health").body(Body::empty()).unwrap())
            .await
            .unwrap()
            .status()
    }

    #[tokio::test]
    async fn health_is_what_the_other_threads_show() {
        let io = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let router = while_answering(Router::new().route("/health", get(|| async {})), io.handle().clone());
        assert_eq!(status(&router).await, StatusCode::OK);

        let (let_go, held) = mpsc::channel::<()>();
        let (holds, holding) = mpsc::channel();
        io.spawn(async move {
            holds.send(()).unwrap();
            let _ = held.recv();
        });
        holding.recv().unwrap();
        let asked = Instant::now();
        let (one, other) = tokio::join!(status(&router), status(&router));
        assert_eq!([one, other], [StatusCode::SERVICE_UNAVAILABLE; 2]);
        assert_eq!(status(&router).await, StatusCode::SERVICE_UNAVAILABLE);
        assert!(asked.elapsed() >= 2 * PATIENCE);
        // Of all that asked, one task waits, behind the one that holds the thread.
        assert_eq!(io.metrics().num_alive_tasks(), 2);

        drop(let_go);
        assert_eq!(status(&router).await, StatusCode::OK);
        io.shutdown_background();
    }
}
