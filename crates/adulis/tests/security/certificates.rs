//! Who shows a certificate: from the socket to what it may do and what is noted of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use adulis::tls::{Alpn, CertificateFiles, ClientTls, ClientTlsOptions};
use adulis_testing::{ProcessSignal, RawConnection, RawResponse, TestAuthority, send_signal};
use prost::Message;
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{BINARY, INFER, call_over, frame, status_of};
use crate::{DENIED, Guarded, OK, UNAUTHENTICATED, byte_json, byte_message};

/// Rules by the names in certificates; the first that fits counts, by the rules' own names.
const RULES: &str = r#"
[auth]
enabled = true

[auth.certificates.a-operator]
names = ["spiffe://adulis/operator"]
scopes = ["infer", "repository"]

[auth.certificates.b-reader]
names = ["spiffe://example/reader-*"]
scopes = ["metadata", "infer"]
models = ["team-a-*"]

[auth.certificates.c-any]
names = ["spiffe://example/reader-1", "spiffe://example/revoked"]
scopes = ["admin"]

[audit]
file = 'FOLDER/audit.jsonl'

[tls]
certificate_files = ['FOLDER/certs/server.pem']
key_files = ['FOLDER/certs/server-key.pem']
client_ca_files = ['FOLDER/certs/ca.pem', 'FOLDER/second.pem']
client_crl_files = ['FOLDER/revoked.pem']
client_auth = "optional"
"#;

/// A server whose own certificate, and an operator's, are `adulis cert dev`'s; it trusts a second authority, too.
struct Mutual {
    guarded: Guarded,
    second: TestAuthority,
}

impl Mutual {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs");
        let mut make = Command::new(BINARY);
        make.args(["cert", "dev", "--client", "spiffe://adulis/operator", "--out"]).arg(&certs);
        assert!(make.output().unwrap().status.success());
        let second = TestAuthority::new();
        let _ = second.write(folder.path(), "second.pem");
        let revoked = second.client("spiffe://example/revoked");
        let _ = revoked.write(folder.path(), "revoked-client");
        fs::write(folder.path().join("revoked.pem"), second.revoking(&[&revoked])).unwrap();
        let rules = RULES.replace("FOLDER", folder.path().to_str().unwrap());
        let guarded = Guarded::start_in(folder, &rules, &["--set", "tls.metrics.enabled=false"]).await;
        Self { guarded, second }
    }

    fn folder(&self) -> &Path {
        self.guarded.folder.path()
    }

    fn operator(&self) -> CertificateFiles {
        let certs = self.folder().join("certs");
        CertificateFiles { certificate: certs.join("client.pem"), key: certs.join("client-key.pem") }
    }

    /// A certificate of an authority for `uri`.
    fn of(&self, authority: &TestAuthority, uri: &str) -> CertificateFiles {
        let (certificate, key) = authority.client(uri).write(self.folder(), "client");
        CertificateFiles { certificate, key }
    }

    fn in_folder(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    async fn connect(
        &self,
        listener: &str,
        client: Option<&CertificateFiles>,
    ) -> std::io::Result<adulis::tls::ClientStream<TcpStream>> {
        let alpn = if listener == "grpc" { Alpn::Http2 } else { Alpn::Http1 };
        let options = ClientTlsOptions {
            ca_file: Some(self.in_folder("certs/ca.pem")),
            certificate: client.cloned(),
            insecure: false,
        };
        let tls = ClientTls::new(&options, alpn).unwrap();
        let stream = TcpStream::connect(self.guarded.server.address(listener).await).await?;
        tls.connect("localhost", stream).await
    }

    async fn ask(
        &self,
        client: Option<&CertificateFiles>,
        line: &str,
        headers: &[&str],
        body: &str,
    ) -> std::io::Result<RawResponse> {
        let stream = self.connect("http", client).await?;
        RawConnection::over(stream).request(line, headers, body.as_bytes()).await
    }

    /// The statuses of an inference over REST and gRPC; `None` where there is no connection at all.
    async fn infer(
        &self,
        client: Option<&CertificateFiles>,
        model: &str,
        headers: &[(&str, &str)],
    ) -> Option<(u16, i32)> {
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let line = format!("POST /v2/models/{model}/infer");
        let rest = self.ask(client, &line, &lines, &byte_json(7)).await.ok();
        let headers = [&[("content-type", "application/grpc")], headers].concat();
        let body = frame(&byte_message(model, 7).encode_to_vec());
        let grpc = match self.connect("grpc", client).await {
            Ok(stream) => call_over(stream, INFER, &headers, body).await.ok(),
            Err(_) => None,
        };
        assert_eq!(rest.is_some(), grpc.is_some(), "{rest:?} {grpc:?}");
        Some((rest?.status, status_of(&grpc?.1).0))
    }
}

#[tokio::test]
async fn certificates_say_who_it_is_and_rules_what_they_may_do() {
    let mutual = Mutual::start().await;
    let (operator, second) = (mutual.operator(), &mutual.second);
    assert_eq!(mutual.infer(Some(&operator), "digits", &[]).await, Some(OK));
    // A narrower one: some models, and no matter that a later rule would give it all.
    let reader = mutual.of(second, "spiffe://example/reader-1");
    assert_eq!(mutual.infer(Some(&reader), "team-a-x", &[]).await, Some(OK));
    assert_eq!(mutual.infer(Some(&reader), "digits", &[]).await, Some(DENIED));
    for (client, line, status) in [
        (&reader, "GET /v2/models/team-a-x", 200),
        (&reader, "GET /v2/models/digits", 403),
        (&reader, "POST /v2/repository/models/team-a-x/load", 403),
        (&operator, "GET /v2/models/digits", 403),
        (&operator, "GET /v2/logging", 403),
        (&operator, "POST /v2/repository/models/digits/load", 200),
    ] {
        let answer = mutual.ask(Some(client), line, &["x-request-id: by-certificate"], "").await.unwrap();
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
    }
    // No rule knows it, but a key may; and what it shows beside its certificate counts before that.
    let (_, key) = mutual.guarded.key(&["--scope", "infer"]);
    let stranger = mutual.of(second, "spiffe://example/stranger");
    assert_eq!(mutual.infer(Some(&stranger), "digits", &[]).await, Some(UNAUTHENTICATED));
    assert_eq!(mutual.infer(Some(&stranger), "digits", &[("x-api-key", &key)]).await, Some(OK));
    assert_eq!(
        mutual.infer(Some(&operator), "digits", &[("x-api-key", "wrong")]).await,
        Some(UNAUTHENTICATED)
    );
    assert_eq!(mutual.infer(None, "digits", &[]).await, Some(UNAUTHENTICATED));
    assert_eq!(mutual.infer(None, "digits", &[("x-api-key", &key)]).await, Some(OK));
    // A pattern without a star is the whole name.
    let longer = mutual.of(second, "spiffe://adulis/operator/x");
    assert_eq!(mutual.infer(Some(&longer), "digits", &[]).await, Some(UNAUTHENTICATED));

    let lines = crate::audit::noted(&mutual.in_folder("audit.jsonl"), 2).await;
    let who = |line: &serde_json::Value| {
        (line["identity"].clone(), line["outcome"].clone(), line["request_id"].clone())
    };
    let identity = |name: &str| json!({ "name": name, "kind": "certificate" });
    let id = json!("by-certificate");
    assert_eq!(who(&lines[0]), (identity("spiffe://example/reader-1"), json!("refused"), id.clone()));
    assert_eq!(who(&lines[1]), (identity("spiffe://adulis/operator"), json!("done"), id));
    let lines = ["\"audit\"", "spiffe://adulis/operator", "model_load", "done"];
    mutual.guarded.server.logged(&lines).await;
}

#[tokio::test]
async fn certificates_that_are_not_good_get_no_connection() {
    let mutual = Mutual::start().await;
    let (other, second) = (TestAuthority::new(), &mutual.second);
    let revoked = CertificateFiles {
        certificate: mutual.in_folder("revoked-client.pem"),
        key: mutual.in_folder("revoked-client-key.pem"),
    };
    let (certificate, key) =
        second.client_until("spiffe://example/reader-2", -1).write(mutual.folder(), "expired");
    let expired = CertificateFiles { certificate, key };
    let (certificate, key) = second.server(&["localhost"]).write(mutual.folder(), "for-servers");
    let for_servers = CertificateFiles { certificate, key };
    for (what, client) in [
        ("of another authority", mutual.of(&other, "spiffe://adulis/operator")),
        ("revoked", revoked),
        ("expired", expired),
        ("made for servers", for_servers),
    ] {
        let (_, key) = mutual.guarded.key(&["--scope", "admin"]);
        assert_eq!(mutual.infer(Some(&client), "digits", &[("x-api-key", &key)]).await, None, "{what}");
    }
    let refused = mutual
        .guarded
        .server
        .metric("adulis_tls_handshakes_total", &["outcome=\"refused\""])
        .await;
    assert!((refused.unwrap() - 8.0).abs() < f64::EPSILON, "one of each over REST and gRPC");

    // A list that is renewed counts from the next connection on.
    let reader = second.client("spiffe://example/reader-3");
    let (certificate, key) = reader.write(mutual.folder(), "reader");
    let client = CertificateFiles { certificate, key };
    assert_eq!(mutual.infer(Some(&client), "team-a-x", &[]).await, Some(OK));
    fs::write(mutual.in_folder("revoked.pem"), second.revoking(&[&reader])).unwrap();
    send_signal(mutual.guarded.server.pid(), ProcessSignal::HangUp).unwrap();
    mutual.guarded.server.logged(&["certificates were read again"]).await;
    assert_eq!(mutual.infer(Some(&client), "team-a-x", &[]).await, None);
    let noted = crate::audit::noted(&mutual.in_folder("audit.jsonl"), 1).await;
    let told = (&noted[0]["operation"], &noted[0]["outcome"], &noted[0]["identity"]["name"]);
    assert_eq!(told, (&json!("certificate_reload"), &json!("done"), &json!("server")), "{noted:?}");
    assert_eq!(mutual.infer(Some(&mutual.operator()), "digits", &[]).await, Some(OK));
}
