//! Runs that hang where their requests arrived.

use std::thread;
use std::time::{Duration, Instant};

use adulis_testing::{TestRepository, TestServer};

use super::{ask, assert_ok, until};
use crate::support::{byte_model, serve};

/// What the metrics port answers; in time, or not at all.
async fn look(server: &TestServer, path: &str) -> (u16, String) {
    let answer = server.get_on("metrics", path);
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await.unwrap().unwrap();
    (answer.status, answer.text())
}

/// A thread of its own answers scrapes and probes. It does not call a server healthy that serves nobody.
#[tokio::test]
async fn metrics_and_probes_are_answered_when_every_io_thread_hangs() {
    let repository = TestRepository::new().unwrap();
    // A model loses the one instance that it has with the first run that hangs.
    let models: Vec<String> = (0..2 + thread::available_parallelism().unwrap().get())
        .map(|number| format!("hangs-{number}"))
        .collect();
    for model in &models {
        repository.identity(model, &byte_model(&[("hang_on", "7")])).unwrap();
    }
    let server = serve(&repository, &["--set", "engine.inline_threshold=10ms"]);
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    for model in &models {
        for _ in 0..20 {
            assert_ok(&ask(&mut connection, model, &[], 1).await);
        }
    }
    for path in ["/metrics", "/livez", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(look(&server, path).await.0, 200, "{path}");
    }

    let asking = models.into_iter().map(async |model| {
        let mut connection = server.connect().await.unwrap();
        ask(&mut connection, &model, &[], 7).await
    });
    let hanging = futures_util::future::join_all(asking);
    let looking = async {
        until("a server that is not live", &server, async || look(&server, "/livez").await.0 == 503).await;
        for path in ["/livez", "/v2/health/live", "/v2/health/ready"] {
            let (status, text) = look(&server, path).await;
            assert_eq!(status, 503, "{path}: {text}");
            assert!(text.contains("no I/O thread of this server had a hand free"), "{path}: {text}");
        }
        let asked = Instant::now();
        let (status, text) = look(&server, "/metrics").await;
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("adulis_inference_requests_total"), "{text}");
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}: a scrape waits for nobody",
            asked.elapsed()
        );
    };
    tokio::select! {
        answers = hanging => panic!("there is a thread that answers: {answers:?}\n{}", server.log()),
        () = looking => {}
    }
}
