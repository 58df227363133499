//! Bad requests as bytes over plain HTTP, each followed by a good one.

use adulis_testing::TestServer;

use crate::send::{good, told};
use crate::support::Client;

/// One bad request: its line, further headers, its body; the status that it gets, and what the message contains.
pub(crate) struct Row<'a> {
    pub(crate) line: &'a str,
    pub(crate) headers: &'a [&'a str],
    pub(crate) body: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) says: &'a [&'a str],
}

impl<'a> Row<'a> {
    /// A request that is answered with 400.
    pub(crate) fn new(line: &'a str, body: impl Into<Vec<u8>>, says: &'a [&'a str]) -> Self {
        Self { line, headers: &[], body: body.into(), status: 400, says }
    }

    pub(crate) fn with(self, headers: &'a [&'a str]) -> Self {
        Self { headers, ..self }
    }

    pub(crate) fn gets(self, status: u16) -> Self {
        Self { status, ..self }
    }

    async fn complaint(&self, server: &TestServer) -> Option<String> {
        let Self { line, headers, body, status, says } = self;
        let answer = server.connect().await.unwrap().request(line, headers, body).await.unwrap();
        let told = told(answer.status, &answer.body);
        let unsaid: Vec<_> = says.iter().filter(|text| !told.contains(**text)).collect();
        let begin = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
        (answer.status != *status || !unsaid.is_empty()).then(|| {
            format!("{line} {headers:?} {begin}: expected {status} with {unsaid:?}, was told: {told}")
        })
    }
}

/// Sends all rows, and a good request after each.
pub(crate) async fn all_refused(server: &TestServer, client: &mut Client, rows: &[Row<'_>]) {
    let mut wrong = Vec::new();
    for row in rows {
        wrong.extend(row.complaint(server).await);
        good(server, client).await;
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
