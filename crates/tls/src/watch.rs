use std::sync::Arc;
use std::time::Duration;

use crate::{ServerTls, TlsError};

impl ServerTls {
    /// Looks at the files every so often and reads them again when any has changed. Never returns; what is wrong with new files
    /// is in the log and the metrics. What came of each look, as [`ServerTls::reload_if_changed`] says it, is for `told`.
    ///
    /// A look asks for the files' dates and sizes only, links followed: it sees a file that is written to, one that is renamed
    /// over another, and the switched links of a Kubernetes secret.
    pub async fn watch(self: Arc<Self>, every: Duration, told: impl Fn(Result<bool, TlsError>) + Send) {
        loop {
            tokio::time::sleep(every).await;
            let tls = Arc::clone(&self);
            if let Ok(looked) = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await {
                told(looked);
            }
        }
    }
}
