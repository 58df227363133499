//! The listener over TLS: what is spoken inside, who the client is, limits and draining as without it, new certificates under
//! load.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use adulis_http::{Drained, HttpOptions, Listener, ListenerOptions, Protocols, router};
use adulis_telemetry::{MetricRegistry, TlsMetrics};
use adulis_testing::{
    RawConnection, ScriptedService, TestAuthority, TestCertificate, TestTlsClient, tls_connect,
};
use adulis_tls::{AcceptorOptions, CertificateFiles, ClientAuth, ServerTls, TlsOptions};
use adulis_types::ClientCertificate;
use axum::extract::Request;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Server, assert_error, binary_body, json_body};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MOMENT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(5);

/// A server with a certificate for `localhost`.
struct Tls {
    authority: TestAuthority,
    folder: TempDir,
    tls: Arc<ServerTls>,
    server: Server,
}

impl Tls {
    fn start(options: ListenerOptions, client_auth: ClientAuth) -> Self {
        let (authority, folder) = (TestAuthority::new(), tempfile::tempdir().unwrap());
        let (certificate, key) = authority.server(&["localhost"]).write(folder.path(), "server");
        let tls = TlsOptions {
            certificates: vec![CertificateFiles { certificate, key }],
            client_ca_files: vec![authority.write(folder.path(), "ca.pem")],
            ..TlsOptions::default()
        };
        let tls = ServerTls::open(tls, TlsMetrics::register(&MetricRegistry::default())).unwrap();
        let acceptor = AcceptorOptions { listener: "http", alpn: options.protocols.alpn(), client_auth };
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), options).unwrap();
        let listener = listener.tls(tls.acceptor(acceptor).unwrap());
        let service = Arc::new(ScriptedService::default());
        let app = router(Arc::clone(&service), HttpOptions::default()).route("/who", get(who));
        Self { authority, folder, tls, server: Server::on(listener, app, service) }
    }

    fn default() -> Self {
        Self::start(ListenerOptions::default(), ClientAuth::Off)
    }

    async fn connect(&self) -> RawConnection {
        self.connect_as(None).await
    }

    async fn connect_as(&self, certificate: Option<&TestCertificate>) -> RawConnection {
        let client = TestTlsClient { alpn: &["http/1.1"], certificate, ..TestTlsClient::default() };
        let config = self.authority.trusted_by(client);
        RawConnection::over(tls_connect(self.server.address, "localhost", config).await.unwrap())
    }

    async fn http2(&self, certificate: Option<&TestCertificate>) -> SendRequest<Full<Bytes>> {
        let client = TestTlsClient { alpn: &["h2"], certificate, ..TestTlsClient::default() };
        let stream = tls_connect(self.server.address, "localhost", self.authority.trusted_by(client)).await;
        let io = TokioIo::new(stream.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// Whom the server takes the client for.
async fn who(request: Request) -> String {
    let client = request.extensions().get::<Arc<ClientCertificate>>();
    client.and_then(|client| client.identity()).unwrap_or("nobody").to_owned()
}

fn infer(model: &str) -> http::Request<Full<Bytes>> {
    http::Request::post(format!("https://localhost/v2/models/{model}/infer"))
        .body(Full::from(json_body(4)))
        .unwrap()
}

#[tokio::test]
async fn the_handshake_says_which_version_is_spoken() {
    let tls = Tls::default();
    let mut first = tls.connect().await;
    for _ in 0..2 {
        let response = first.request("POST /v2/models/echo/infer", &[], &json_body(4)).await.unwrap();
        assert_eq!(response.status, 200);
    }
    let mut second = tls.http2(None).await;
    let response = second.send_request(infer("echo")).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    // A client that does not say speaks HTTP/1.1.
    let config = tls.authority.trusted_by(TestTlsClient::default());
    let stream = tls_connect(tls.server.address, "localhost", config).await.unwrap();
    let response = RawConnection::over(stream).request("GET /v2", &[], b"").await.unwrap();
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn only_what_the_listener_speaks_is_agreed_on() {
    for (protocols, spoken, refused) in [
        (Protocols::Http1, "http/1.1", "h2"),
        (Protocols::Http2, "h2", "http/1.1"),
    ] {
        let tls = Tls::start(ListenerOptions { protocols, ..ListenerOptions::default() }, ClientAuth::Off);
        for (alpn, good) in [(spoken, true), (refused, false)] {
            let client = TestTlsClient { alpn: &[alpn], ..TestTlsClient::default() };
            let config = tls.authority.trusted_by(client);
            let done = tls_connect(tls.server.address, "localhost", config).await;
            assert_eq!(done.is_ok(), good, "{protocols:?} {alpn}");
        }
    }
}

#[tokio::test]
async fn requests_carry_who_the_client_is() {
    let tls = Tls::start(ListenerOptions::default(), ClientAuth::Optional);
    let own = tls.authority.client("spiffe://example/billing");
    let mut known = tls.connect_as(Some(&own)).await;
    for _ in 0..2 {
        assert_eq!(known.request("GET /who", &[], b"").await.unwrap().text(), "spiffe://example/billing");
    }
    assert_eq!(tls.connect().await.request("GET /who", &[], b"").await.unwrap().text(), "nobody");
    let request = http::Request::get("https://localhost/who").body(Full::default()).unwrap();
    let response = tls.http2(Some(&own)).await.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "spiffe://example/billing");
}

#[tokio::test]
async fn large_bodies_come_through_both_ways() {
    let tls = Tls::default();
    let mut connection = tls.connect().await;
    let (body, header) = binary_body(2 << 20);
    let header = format!("inference-header-content-length: {header}");
    let response = connection.request("POST /v2/models/echo/infer", &[&header], &body).await.unwrap();
    assert_eq!(response.status, 200);
    assert!(response.body.ends_with(&body[body.len() - (8 << 20)..]));
}

#[tokio::test]
async fn a_plain_request_is_told_that_the_port_speaks_tls() {
    let tls = Tls::default();
    let mut plain = RawConnection::open(tls.server.address).await.unwrap();
    let response = plain.request("GET /v2", &[], b"").await.unwrap();
    assert_eq!((response.status, response.header("connection")), (400, Some("close")));
    assert!(response.text().contains("this port speaks TLS: use https"), "{}", response.text());
    assert!(plain.closed_within(LONG).await);
    // What is neither TLS nor HTTP/1.1 gets no answer.
    for said in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"\0\0\0\0"] {
        let mut other = TcpStream::connect(tls.server.address).await.unwrap();
        other.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let _ = other.read_to_end(&mut answer).await;
        assert_eq!(answer, b"", "{said:?}");
    }
    assert_eq!(tls.connect().await.request("GET /v2", &[], b"").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_silent_or_slow_client_is_cut_off() {
    let options = ListenerOptions { header_read_timeout: MOMENT, ..ListenerOptions::default() };
    let tls = Tls::start(options, ClientAuth::Off);
    assert!(tls.connect().await.closed_within(LONG).await);
    let mut slow = tls.connect().await;
    assert_eq!(slow.request("GET /v2", &[], b"").await.unwrap().status, 200);
    slow.send(b"GET /v2 HT").await.unwrap();
    assert!(slow.closed_within(LONG).await, "half a head");
    let mut held = tls.connect().await;
    let held =
        tokio::spawn(async move { held.request("POST /v2/models/held/infer", &[], &json_body(1)).await });
    tls.server.service.calls.wait_started(1).await;
    tokio::time::sleep(MOMENT * 5).await;
    tls.server.service.release.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().status, 200, "a request in progress is not idle");
}

#[tokio::test]
async fn an_idle_connection_ends_with_a_farewell() {
    // It is cut off after as long again, before which it is to have ended.
    let options = ListenerOptions { keep_alive_timeout: MOMENT * 5, ..ListenerOptions::default() };
    let tls = Tls::start(options, ClientAuth::Off);
    let mut idle = tls.connect().await;
    assert_eq!(idle.request("GET /v2", &[], b"").await.unwrap().status, 200);
    idle.farewell().await.unwrap();
}

#[tokio::test]
async fn connections_over_the_limit_are_closed() {
    let options = ListenerOptions { max_connections: 1, ..ListenerOptions::default() };
    let tls = Tls::start(options, ClientAuth::Off);
    let mut first = tls.connect().await;
    assert_eq!(first.request("GET /v2", &[], b"").await.unwrap().status, 200);
    let config = tls.authority.trusted_by(TestTlsClient::default());
    assert!(tls_connect(tls.server.address, "localhost", config).await.is_err());
    assert_eq!(first.request("GET /v2", &[], b"").await.unwrap().status, 200);
}

#[tokio::test]
async fn draining_lets_requests_end() {
    let mut tls = Tls::default();
    let mut sender = tls.http2(None).await;
    let multiplexed = tokio::spawn(async move { sender.send_request(infer("held")).await });
    let mut busy = tls.connect().await;
    let one = tokio::spawn(async move {
        let answer = busy.request("POST /v2/models/held/infer", &[], &json_body(1)).await;
        (answer, busy)
    });
    let mut idle = tls.connect().await;
    assert_eq!(idle.request("GET /v2", &[], b"").await.unwrap().status, 200);
    // Amid its handshake, which it never ends.
    let mut unshaken = TcpStream::connect(tls.server.address).await.unwrap();
    unshaken.write_all(&[22, 3, 1]).await.unwrap();
    tls.server.service.calls.wait_started(2).await;

    tls.server.begin_shutdown();
    idle.farewell().await.unwrap();
    let mut rest = Vec::new();
    let _ = unshaken.read_to_end(&mut rest).await;
    tls.server.service.release.add_permits(2);
    let (answer, mut busy) = one.await.unwrap();
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    busy.farewell().await.unwrap();
    assert_eq!(multiplexed.await.unwrap().unwrap().status(), 200);
    assert_eq!(tls.server.stopped().await, Drained { forced: 0 });
}

/// New certificates while clients ask without a pause, on open connections and on new ones: every request is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_certificates_under_load_lose_no_request() {
    let tls = Arc::new(Tls::default());
    let stop = Arc::new(AtomicBool::new(false));
    let (answered, shown) = (Arc::new(AtomicUsize::new(0)), Arc::new(parking_lot::Mutex::new(Vec::new())));
    let clients: Vec<_> = (0..4)
        .map(|index| {
            let (tls, stop, answered) = (Arc::clone(&tls), Arc::clone(&stop), Arc::clone(&answered));
            let shown = Arc::clone(&shown);
            tokio::spawn(async move {
                let config = tls.authority.trusted_by(TestTlsClient::default());
                let mut open = None;
                while !stop.load(Ordering::Relaxed) {
                    let mut connection = match open.take() {
                        Some(connection) => connection,
                        None => {
                            let stream = tls_connect(tls.server.address, "localhost", Arc::clone(&config));
                            let stream = stream.await.unwrap();
                            let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
                            shown.lock().push(leaf);
                            RawConnection::over(stream)
                        }
                    };
                    let line = "POST /v2/models/echo/infer";
                    let response = connection.request(line, &[], &json_body(4)).await.unwrap();
                    assert_eq!(response.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                    // Half of the clients keep their connection.
                    open = (index % 2 == 0).then_some(connection);
                }
            })
        })
        .collect();
    for index in 0..20 {
        if index % 4 == 3 {
            std::fs::write(tls.folder.path().join("server.pem"), "broken").unwrap();
            tls.tls.reload().unwrap_err();
        }
        let _ = tls.authority.server(&["localhost"]).write(tls.folder.path(), "server");
        tls.tls.reload().unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let mut shown = std::mem::take(&mut *shown.lock());
    shown.sort();
    shown.dedup();
    assert!(shown.len() > 5, "{} of 21 certificates were seen", shown.len());
    assert!(answered.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn errors_are_the_same_over_tls() {
    let tls = Tls::default();
    let response = tls
        .connect()
        .await
        .request("POST /v2/models/nobody/infer", &[], &json_body(1))
        .await
        .unwrap();
    assert_error(&response, 404, "nobody");
}
