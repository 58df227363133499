//! The real server over TLS: every port, client certificates, files that change, and our own tools as clients.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use adulis_testing::{
    ProcessSignal, RawConnection, TestAuthority, TestCertificate, TestRepository, TestServer, TestTlsClient,
    send_signal, tls_connect,
};
use support::{BINARY, byte_json, byte_model, serve};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// Runs the binary; gives its exit code and all that it said.
async fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || Command::new(BINARY).args(arguments).output();
    let Output { status, stdout, stderr } = spawn_blocking(run).await.unwrap().unwrap();
    let text = [stdout, stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (status.code(), text)
}

/// A server with a certificate for this machine, over one model.
struct Tls {
    authority: TestAuthority,
    folder: TempDir,
    ca: String,
    server: TestServer,
    _models: TestRepository,
}

impl Tls {
    async fn start(further: &[&str]) -> Self {
        let (authority, folder) = (TestAuthority::new(), tempfile::tempdir().unwrap());
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (certificate, key) = authority.server(&["localhost", "127.0.0.1"]).write(folder.path(), "server");
        let ca = text(&authority.write(folder.path(), "ca.pem"));
        let models = TestRepository::new().unwrap();
        models.identity("byte", &byte_model(&[])).unwrap();
        let (certificate, key) = (text(&certificate), text(&key));
        let arguments = [&["--tls-cert", &certificate, "--tls-key", &key][..], further].concat();
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.replace("CA_FILE", &ca)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let server = serve(&models, &arguments);
        server.logged(&["\"ready\""]).await;
        Self { authority, folder, ca, server, _models: models }
    }

    async fn url(&self, scheme: &str, listener: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.server.address(listener).await.port())
    }

    async fn connect(&self, listener: &str, certificate: Option<&TestCertificate>) -> RawConnection {
        let client = TestTlsClient { certificate, ..TestTlsClient::default() };
        let address = self.server.address(listener).await;
        let stream = tls_connect(address, "localhost", self.authority.trusted_by(client)).await.unwrap();
        RawConnection::over(stream)
    }

    async fn shown(&self) -> Vec<u8> {
        let config = self.authority.trusted_by(TestTlsClient::default());
        let address = self.server.address("http").await;
        let stream = tls_connect(address, "localhost", config).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }
}

#[tokio::test]
async fn every_port_speaks_tls_and_our_tools_do() {
    let tls = Tls::start(&["--cache-all-models", "--cache-ttl", "1m"]).await;
    let mut rest = tls.connect("http", None).await;
    let answer = rest.request("POST /v2/models/byte/infer", &[], byte_json(7).as_bytes()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut metrics = tls.connect("metrics", None).await;
    let text = metrics.request("GET /metrics", &[], b"").await.unwrap().text();
    for line in [
        "adulis_tls_handshakes_total{listener=\"http\",outcome=\"ok\"}",
        "adulis_tls_handshakes_total{listener=\"metrics\",outcome=\"ok\"} 1",
        "adulis_tls_certificate_expiry_timestamp_seconds{file=",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }

    let (https, grpcs) = (tls.url("https", "http", "").await, tls.url("grpcs", "grpc", "").await);
    let ca = &["--ca", tls.ca.as_str()][..];
    for url in [&https, &grpcs] {
        assert_eq!(run(&[&["probe", url], ca].concat()).await, (Some(0), String::new()), "{url}");
        assert_eq!(run(&["probe", url, "--insecure"]).await.0, Some(0), "{url}");
        let (code, said) = run(&["probe", url]).await;
        assert!(code == Some(1) && said.contains("UnknownIssuer"), "{said}");
        let load = [
            "-c",
            "2",
            "--warmup",
            "0s",
            "--measurement-interval",
            "100ms",
            "--windows",
            "1",
        ];
        let bench = [
            &["bench", "-m", "byte", "-u", url, "--max-error-rate", "0"],
            &load[..],
            ca,
        ]
        .concat();
        let (code, said) = run(&bench).await;
        assert_eq!(code, Some(0), "{said}");
    }
    let (code, said) = run(&[&["cache", "status", "--url", &https], ca].concat()).await;
    assert!(code == Some(0) && said.contains("memory: "), "{said}");

    // Whoever sets these believes the connection to be safe.
    let plain = tls.url("http", "http", "").await;
    let (code, said) = run(&[&["probe", &plain], ca].concat()).await;
    assert!(code == Some(1) && said.contains("says no TLS"), "{said}");
    // A plain request is told what to do.
    let (code, said) = run(&["probe", &plain]).await;
    assert!(code == Some(1) && said.contains("this port speaks TLS: use https"), "{said}");
}

#[tokio::test]
async fn a_shared_port_speaks_both_over_tls() {
    // A free port: nobody else takes it between here and there but by bad luck, which is told as a failed bind.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let tls = Tls::start(&["--http", &address, "--grpc", &address]).await;
    for scheme in ["https", "grpcs"] {
        let url = tls.url(scheme, "http", "").await;
        assert_eq!(run(&["probe", &url, "--ca", &tls.ca]).await, (Some(0), String::new()), "{url}");
    }
}

#[tokio::test]
async fn clients_show_certificates_where_they_must() {
    let flags = ["--tls-client-ca", "CA_FILE", "--tls-client-auth", "required"];
    let tls = Tls::start(&[&flags[..], &["--set", "tls.metrics.client_auth=off"]].concat()).await;
    let own = tls.authority.client("spiffe://example/billing");
    let (certificate, key) = own.write(tls.folder.path(), "client");
    let files = [
        "--cert",
        certificate.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    for (scheme, listener) in [("https", "http"), ("grpcs", "grpc")] {
        let url = tls.url(scheme, listener, "").await;
        let probe = ["probe", &url, "--ca", &tls.ca];
        let (code, said) = run(&probe).await;
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(run(&[&probe[..], &files].concat()).await, (Some(0), String::new()));
    }
    let mut metrics = tls.connect("metrics", None).await;
    let text = metrics.request("GET /metrics", &[], b"").await.unwrap().text();
    assert!(
        text.contains("adulis_tls_handshakes_total{listener=\"http\",outcome=\"refused\"} 1"),
        "{text}"
    );
    let mut known = tls.connect("http", Some(&own)).await;
    assert_eq!(known.request("GET /v2", &[], b"").await.unwrap().status, 200);
}

#[tokio::test]
async fn new_files_are_read_when_sighup_comes_and_broken_ones_are_not_taken() {
    let quiet = [
        "--set",
        "tls.reload_interval=off",
        "--set",
        "tls.metrics.enabled=false",
    ];
    let tls = Tls::start(&quiet).await;
    let mut open = tls.connect("http", None).await;
    assert_eq!(open.request("GET /v2", &[], b"").await.unwrap().status, 200);
    let first = tls.shown().await;

    let second = tls.authority.server(&["localhost"]);
    let (certificate, key) = second.write(tls.folder.path(), "server");
    send_signal(tls.server.pid(), ProcessSignal::HangUp).unwrap();
    tls.server.logged(&["certificates were read again"]).await;
    assert_eq!(tls.shown().await, second.der().to_vec());
    assert_ne!(first, second.der().to_vec());
    assert_eq!(open.request("GET /v2", &[], b"").await.unwrap().status, 200, "open connections stay");

    fs::write(&key, "no key").unwrap();
    send_signal(tls.server.pid(), ProcessSignal::HangUp).unwrap();
    let said = tls.server.logged(&["the new certificates are not taken"]).await;
    assert!(said.contains("server-key.pem: holds no private key in PEM"), "{said}");
    assert_eq!(tls.shown().await, second.der().to_vec());
    tls.server.metric_reaches("adulis_tls_reloads_total", &["outcome=\"failed\""], 1.0).await;
    assert!(tls.server.metric("adulis_tls_reloads_total", &["outcome=\"ok\""]).await.unwrap() > 0.0);
    drop(certificate);
}

/// One signal has both read again, and what is at fault with one of them does not keep the other from being taken.
#[tokio::test]
async fn one_sighup_reads_certificates_and_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adulis.toml");
    fs::write(&file, "tls.reload_interval = 'off'\n").unwrap();
    let tls = Tls::start(&["--config", file.to_str().unwrap()]).await;
    let write = |config: &str| fs::write(&file, format!("tls.reload_interval = 'off'\n{config}")).unwrap();
    let signal = || send_signal(tls.server.pid(), ProcessSignal::HangUp).unwrap();
    let shows = async |certificate: &TestCertificate| {
        let expected = certificate.der().to_vec();
        tls.server
            .wait("the new certificate", async || (tls.shown().await == expected).then_some(()))
            .await;
    };

    let second = tls.authority.server(&["localhost"]);
    let (_, key) = second.write(tls.folder.path(), "server");
    write("log.access = true\n");
    signal();
    tls.server.logged(&["configuration read again", "log.access"]).await;
    shows(&second).await;

    fs::write(&key, "no key").unwrap();
    write("log.access = true\nserver.lame_duck = '1s'\n");
    signal();
    tls.server.logged(&["configuration read again", "server.lame_duck"]).await;
    tls.server.logged(&["the new certificates are not taken"]).await;
    assert_eq!(tls.shown().await, second.der().to_vec(), "a bad key takes the place of no good one");

    let third = tls.authority.server(&["localhost"]);
    let _ = third.write(tls.folder.path(), "server");
    write("log.access = false\nlog.acces = true\n");
    signal();
    tls.server.logged(&["ERROR", "stays as it was", "log.acces"]).await;
    shows(&third).await;
    // Nothing of a configuration at fault is in effect: requests are logged as before.
    let answer = tls
        .connect("http", None)
        .await
        .request("GET /v2/models/asked-last", &[], b"")
        .await
        .unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text());
    tls.server.logged(&["adulis::access", "/v2/models/asked-last"]).await;
}

#[tokio::test]
async fn new_files_are_found() {
    let often = [
        "--set",
        "tls.reload_interval=1s",
        "--set",
        "tls.metrics.enabled=false",
    ];
    let tls = Tls::start(&often).await;
    let second = tls.authority.server(&["localhost"]);
    let _ = second.write(tls.folder.path(), "server");
    tls.server.metric_reaches("adulis_tls_reloads_total", &["outcome=\"ok\""], 1.0).await;
    assert_eq!(tls.shown().await, second.der().to_vec());
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_by_their_keys() {
    let (authority, folder) = (TestAuthority::new(), tempfile::tempdir().unwrap());
    let (certificate, key) = authority.server(&["localhost"]).write(folder.path(), "a");
    let (_, other_key) = authority.server(&["localhost"]).write(folder.path(), "b");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let gone = path(&folder.path().join("gone.pem"));
    let (certificate, key, other_key) = (path(&certificate), path(&key), path(&other_key));
    let config = format!(
        "[tls]\ncertificate_files = ['{certificate}', '{gone}', '{key}']\nkey_files = ['{other_key}', '{key}', '{key}']\n\
         client_ca_files = ['{certificate}', '{gone}']\nclient_auth = 'optional'\n"
    );
    let file = folder.path().join("adulis.toml");
    fs::write(&file, config).unwrap();
    let models = TestRepository::new().unwrap();
    let arguments = [
        "serve",
        models.path().to_str().unwrap(),
        "--config",
        file.to_str().unwrap(),
    ];
    let expected = format!(
        "tls.key_files[0]: {other_key}: is not the key of {certificate}\n\
         tls.certificate_files[1]: {gone}: cannot be read: No such file or directory (os error 2)\n\
         tls.certificate_files[2]: {key}: holds no certificate in PEM\n\
         tls.client_ca_files[1]: {gone}: cannot be read: No such file or directory (os error 2)\n"
    );
    for further in [&["--check-config"][..], &["--http", "127.0.0.1:0"]] {
        let (code, said) = run(&[&arguments[..], further].concat()).await;
        assert!(code == Some(2) && said.ends_with(&expected), "{code:?}: {said}");
    }
}

#[tokio::test]
async fn development_certificates_are_made_once_and_serve() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("certs");
    let make = ["cert", "dev", "--out", out.to_str().unwrap()];
    let (code, said) = run(&make).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("--tls-cert") && said.contains("curl --cacert"), "{said}");
    let before = fs::read(out.join("server-key.pem")).unwrap();
    let (code, said) = run(&make).await;
    assert!(code == Some(1) && said.contains("is there already"), "{said}");
    assert_eq!(fs::read(out.join("server-key.pem")).unwrap(), before);

    let models = TestRepository::new().unwrap();
    models.identity("byte", &byte_model(&[])).unwrap();
    let file = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let [server, server_key, ca, client, client_key] = [
        "server.pem",
        "server-key.pem",
        "ca.pem",
        "client.pem",
        "client-key.pem",
    ]
    .map(file);
    let flags = [
        "--tls-cert",
        &server,
        "--tls-key",
        &server_key,
        "--tls-client-ca",
        &ca,
    ];
    let running = serve(&models, &[&flags[..], &["--tls-client-auth", "required"]].concat());
    running.logged(&["\"ready\""]).await;
    let url = format!("https://localhost:{}", running.address("http").await.port());
    let probe = [
        "probe",
        &url,
        "--ca",
        &ca,
        "--cert",
        &client,
        "--key",
        &client_key,
    ];
    assert_eq!(run(&probe).await, (Some(0), String::new()));
}
