use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use adulis_testing::TestServer;
use tokio::task::JoinSet;

use crate::support::byte_json;

/// Clients that ask a model of bytes without a pause.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicU64>>,
    clients: JoinSet<()>,
}

impl Load {
    /// So many clients. Any answer but the right one panics in its client.
    pub(crate) async fn start(server: &TestServer, model: &'static str, clients: u8) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered: Vec<Arc<AtomicU64>> = (0..clients).map(|_| Arc::default()).collect();
        let mut tasks = JoinSet::new();
        for byte in 0..clients {
            let mut connection = server.connect().await.unwrap();
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered[usize::from(byte)]));
            tasks.spawn(async move {
                let (line, body) = (format!("POST /v2/models/{model}/infer"), byte_json(byte));
                while !stop.load(Ordering::Relaxed) {
                    let answer = connection.request(&line, &[], body.as_bytes()).await.unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    assert!(answer.text().contains(&format!("[{byte}]")), "{}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { stop, answered, clients: tasks }
    }

    /// The answers of each client.
    pub(crate) fn answered(&self) -> Vec<u64> {
        self.answered.iter().map(|answered| answered.load(Ordering::Relaxed)).collect()
    }

    /// Waits until each client has so many more answers than it had.
    pub(crate) async fn go_on(&self, server: &TestServer, before: &[u64], more: u64) {
        let all = async || {
            self.answered()
                .iter()
                .zip(before)
                .all(|(now, before)| *now >= before + more)
                .then_some(())
        };
        server.wait("answers for every client", all).await;
    }

    /// Ends the clients. Gives the requests that were answered: all of them.
    pub(crate) async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        self.answered().iter().sum()
    }
}
