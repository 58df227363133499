use std::sync::Arc;
use std::time::Duration;

use crate::ServerTls;

impl ServerTls {
    /// Looks at the files every so often and reads them again when any has changed. Never returns; what is wrong with new files is
    /// in the log and the metrics.
    ///
    /// A look asks for the files' dates and sizes only, links followed: it sees a file that is written to, one that is renamed
    /// over another, and the switched links of a Kubernetes secret.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let tls = Arc::clone(&self);
            // Its outcome is told where it comes about.
            let _ = tokio::task::spawn_blocking(move || tls.reload_if_changed().is_ok()).await;
        }
    }
}
