//! Real handshakes with rustls's own client: versions, names, client certificates, files that change.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::fs;
use std::time::Duration;

use adulis_testing::{TestAuthority, TestTlsClient};
use adulis_tls::{Alpn, ClientAuth, HandshakeError, MinVersion};
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, SupportedProtocolVersion};
use support::{Files, Outcome, Setup, shake, shake_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

static ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];

const HTTP1: TestTlsClient<'static> = TestTlsClient { alpn: &["http/1.1"], certificate: None, versions: &[] };

#[tokio::test]
async fn both_versions_are_spoken_and_the_newest_goes_first() {
    let setup = Setup::new(&["localhost"]);
    for (client, version) in [
        (HTTP1, ProtocolVersion::TLSv1_3),
        (TestTlsClient { versions: ONLY_12, ..HTTP1 }, ProtocolVersion::TLSv1_2),
    ] {
        let Outcome { client, server } = shake(&setup, client).await;
        assert_eq!(client.unwrap().get_ref().1.protocol_version(), Some(version));
        assert_eq!(server.unwrap().client, None);
    }
}

#[tokio::test]
async fn a_least_version_is_kept_to() {
    let setup = Setup::with(&["localhost"], |options| options.min_version = MinVersion::V1_3);
    let old = shake(&setup, TestTlsClient { versions: ONLY_12, ..HTTP1 }).await;
    assert!(old.client.is_err());
    assert!(matches!(old.server, Err(HandshakeError::Failed(_))), "{:?}", old.server);
    shake(&setup, TestTlsClient { versions: ONLY_13, ..HTTP1 }).await.client.unwrap();
}

/// A TLS 1.1 client hello, as rustls cannot write one: it gets an alert, not an answer.
///
/// Source: RFC 4346, section 7.4.1.2.
#[tokio::test]
async fn older_versions_are_refused() {
    let setup = Setup::new(&["localhost"]);
    for minor in [0, 1, 2] {
        let (address, served) = setup.serve_one().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Version, random, no session, two cipher suites, no compression; no extensions, as of old.
        let body = [
            &[3, minor][..],
            &[7; 32],
            &[0],
            &[0, 4, 0xc0, 0x13, 0, 0x2f],
            &[1, 0],
        ]
        .concat();
        let length = u8::try_from(body.len()).unwrap();
        let hello = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
        stream.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer[..2], [21, 3], "an alert");
        // protocol_version, or handshake_failure.
        assert!(answer[5] == 2 && [70, 40].contains(&answer[6]), "{answer:?}");
        assert!(matches!(served.await.unwrap(), Err(HandshakeError::Failed(_))));
    }
}

#[tokio::test]
async fn client_and_server_agree_on_what_is_spoken_inside() {
    let setup = Setup::new(&["localhost"]);
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(Alpn::Http2)),
        (&["http/1.1"], Some(Alpn::Http1)),
        (&[], None),
    ] {
        let outcome = shake(&setup, TestTlsClient { alpn: offered, ..HTTP1 }).await;
        assert_eq!(outcome.server.unwrap().alpn, agreed, "{offered:?}");
    }
    let other = shake(&setup, TestTlsClient { alpn: &["spdy/1"], ..HTTP1 }).await;
    assert!(other.client.is_err() && matches!(other.server, Err(HandshakeError::Failed(_))));
}

#[tokio::test]
async fn the_name_that_is_asked_for_chooses_the_certificate() {
    let mut setup = Setup::new(&["first.example"]);
    setup.add(&["*.example.com"]);
    setup.add(&["api.example.com"]);
    for (name, index) in [
        ("first.example", 0),
        ("web.example.com", 1),
        ("api.example.com", 2),
    ] {
        let client = setup.authority.trusted_by(HTTP1);
        let stream = shake_with(&setup, name, client).await.client.unwrap();
        let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
        assert_eq!(*shown, setup.certificates[index].der(), "{name}");
    }
    // Who asks for a name that none has sees the first, and refuses it.
    let client = setup.authority.trusted_by(HTTP1);
    let error = shake_with(&setup, "other.example", client).await.client.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_goes_away() {
    let setup = Setup::new(&["localhost"]);
    let client = TestAuthority::new().trusted_by(HTTP1);
    let outcome = shake_with(&setup, "localhost", client).await;
    let error = outcome.client.unwrap_err().to_string();
    // The other authority has the same name, and another key.
    assert!(error.contains("BadSignature"), "{error}");
    assert!(matches!(outcome.server, Err(HandshakeError::Failed(_))));
}

#[tokio::test]
async fn a_client_says_who_it_is() {
    let mut setup = Setup::new(&["localhost"]);
    let own = setup.authority.client("spiffe://example/billing");
    for auth in [ClientAuth::Optional, ClientAuth::Required] {
        setup.client_auth = auth;
        for versions in [ONLY_12, ONLY_13] {
            let client = TestTlsClient { certificate: Some(&own), versions, ..HTTP1 };
            let accepted = shake(&setup, client).await.server.unwrap();
            let said = accepted.client.unwrap();
            assert_eq!(said.identity(), Some("spiffe://example/billing"), "{auth:?}");
        }
    }
}

#[tokio::test]
async fn clients_without_a_good_certificate_are_refused() {
    let mut setup = Setup::new(&["localhost"]);
    let (expired, revoked, good) = (
        setup.authority.client_until("spiffe://example/old", -1),
        setup.authority.client("spiffe://example/lost"),
        setup.authority.client("spiffe://example/good"),
    );
    let of_another = TestAuthority::new().client("spiffe://example/billing");
    // A server's certificate is no client's.
    let of_a_server = setup.authority.server(&["localhost"]);
    setup.revoke(&[&revoked]);
    for auth in [ClientAuth::Required, ClientAuth::Optional] {
        setup.client_auth = auth;
        let refused = async |certificate| {
            let outcome = shake(&setup, TestTlsClient { certificate, ..HTTP1 }).await;
            matches!(outcome.server, Err(HandshakeError::Refused(_)))
        };
        for (what, certificate) in [
            ("expired", &expired),
            ("revoked", &revoked),
            ("of another authority", &of_another),
            ("a server's", &of_a_server),
        ] {
            assert!(refused(Some(certificate)).await, "{auth:?}: {what}");
        }
        assert!(!refused(Some(&good)).await);
        assert_eq!(refused(None).await, auth == ClientAuth::Required);
    }
}

/// A session that was resumed would keep a certificate that has been revoked since.
#[tokio::test]
async fn sessions_are_resumed_only_where_clients_have_no_certificates() {
    let mut setup = Setup::new(&["localhost"]);
    let own = setup.authority.client("spiffe://example/billing");
    for (auth, resumed) in [(ClientAuth::Off, true), (ClientAuth::Required, false)] {
        setup.client_auth = auth;
        let server = setup.open();
        let client = setup.authority.trusted_by(TestTlsClient { certificate: Some(&own), ..HTTP1 });
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = server.exchange(&client).await;
            // The ticket comes with the first bytes.
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds[1] == rustls::HandshakeKind::Resumed, resumed, "{auth:?}: {kinds:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_its_time() {
    let setup = Setup::with(&["localhost"], |options| options.handshake_timeout = Duration::from_secs(3));
    for said in [&b""[..], &[22, 3, 1]] {
        let (address, served) = setup.serve_one().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        assert!(matches!(served.await.unwrap(), Err(HandshakeError::Timeout(_))), "{said:?}");
    }
}

#[tokio::test]
async fn what_is_no_tls_is_left_unread() {
    let setup = Setup::new(&["localhost"]);
    let (address, served) = setup.serve_one().await;
    TcpStream::connect(address).await.unwrap().write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let Err(HandshakeError::NotTls(mut stream)) = served.await.unwrap() else {
        panic!("it is no TLS");
    };
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"GET / HTTP/1.1\r\n");

    let (address, served) = setup.serve_one().await;
    drop(TcpStream::connect(address).await.unwrap());
    assert!(matches!(served.await.unwrap(), Err(HandshakeError::Closed)));
    let counts = setup.metrics();
    assert!(
        counts.contains("adulis_tls_handshakes_total{listener=\"test\",outcome=\"not_tls\"} 1"),
        "{counts}"
    );
    assert!(
        counts.contains("adulis_tls_handshakes_total{listener=\"test\",outcome=\"failed\"} 0"),
        "{counts}"
    );
}

#[tokio::test]
async fn new_files_are_taken_and_open_connections_stay() {
    let setup = Setup::new(&["localhost"]);
    let server = setup.open();
    let client = setup.authority.trusted_by(HTTP1);
    let mut open = server.exchange(&client).await;
    assert!(!server.tls.reload_if_changed().unwrap());

    let renewed = setup.authority.server_until(&["localhost"], 99);
    let _ = renewed.write(setup.folder.path(), "server0");
    assert!(server.tls.reload_if_changed().unwrap());
    assert!(!server.tls.reload_if_changed().unwrap(), "once is enough");
    let new = server.exchange(&client).await;
    assert_eq!(new.get_ref().1.peer_certificates().unwrap()[0], renewed.der());
    let mut byte = [0];
    open.read_exact(&mut byte).await.unwrap();

    let counts = setup.metrics();
    assert!(counts.contains("adulis_tls_reloads_total{outcome=\"ok\"} 1"), "{counts}");
    let expiry = counts
        .lines()
        .find(|line| line.contains("expiry") && line.contains("server0.pem"))
        .unwrap();
    let days = (expiry.rsplit(' ').next().unwrap().parse::<u64>().unwrap() - now()) / 86_400;
    assert!((97..=99).contains(&days), "{expiry}");
}

#[tokio::test]
async fn broken_files_keep_the_old_ones() {
    let mut setup = Setup::new(&["localhost"]);
    setup.client_auth = ClientAuth::Required;
    let own = setup.authority.client("spiffe://example/billing");
    let server = setup.open();
    let client = setup.authority.trusted_by(TestTlsClient { certificate: Some(&own), ..HTTP1 });
    let Files { certificate, key, ca } = setup.files(0);
    let other = setup.authority.server(&["localhost"]);
    for (path, broken, says) in [
        (&certificate, "no certificate".to_owned(), "server0.pem: holds no certificate in PEM"),
        (&certificate, other.pem(), "server0-key.pem: is not the key of"),
        (&key, String::new(), "server0-key.pem: holds no private key in PEM"),
        (&ca, String::new(), "ca.pem: holds no certificate in PEM"),
    ] {
        let sound = fs::read_to_string(path).unwrap();
        fs::write(path, &broken).unwrap();
        let error = server.tls.reload_if_changed().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!server.tls.reload_if_changed().unwrap(), "the same fault is told once");
        let stream = server.exchange(&client).await;
        assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], setup.certificates[0].der());
        fs::write(path, sound).unwrap();
        assert!(server.tls.reload_if_changed().unwrap());
    }
    let counts = setup.metrics();
    assert!(counts.contains("adulis_tls_reloads_total{outcome=\"failed\"} 4"), "{counts}");
}

#[tokio::test]
async fn a_certificate_that_has_expired_takes_no_sound_ones_place() {
    let setup = Setup::new(&["localhost"]);
    let server = setup.open();
    let expired = setup.authority.server_until(&["localhost"], -1);
    let _ = expired.write(setup.folder.path(), "server0");
    let error = server.tls.reload_if_changed().unwrap_err().to_string();
    assert!(error.contains("server0.pem: has expired, and the one before has not"), "{error}");
    let stream = server.exchange(&setup.authority.trusted_by(HTTP1)).await;
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], setup.certificates[0].der());
    let _ = setup.authority.server(&["localhost"]).write(setup.folder.path(), "server0");
    assert!(server.tls.reload_if_changed().unwrap());
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_takes_no_sound_ones_place_before_it_is() {
    let setup = Setup::new(&["localhost"]);
    let server = setup.open();
    let client = setup.authority.trusted_by(HTTP1);
    let early = setup.authority.server_after(&["localhost"], Duration::from_secs(4));
    let _ = early.write(setup.folder.path(), "server0");
    let error = server.tls.reload_if_changed().unwrap_err().to_string();
    assert!(error.contains("server0.pem: is not valid yet, and the one before is"), "{error}");
    assert!(!server.tls.reload_if_changed().unwrap(), "the same fault is told once");
    let stream = server.exchange(&client).await;
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], setup.certificates[0].der());
    for _ in 0..1000 {
        if server.tls.reload_if_changed().unwrap() {
            let stream = server.exchange(&client).await;
            assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], early.der());
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was not taken when its time had come");
}

#[tokio::test]
async fn what_a_client_may_show_changes_with_the_files() {
    let mut setup = Setup::new(&["localhost"]);
    setup.client_auth = ClientAuth::Required;
    let own = setup.authority.client("spiffe://example/billing");
    setup.revoke(&[]);
    let server = setup.open();
    let config = setup.authority.trusted_by(TestTlsClient { certificate: Some(&own), ..HTTP1 });
    server.exchange(&config).await;
    setup.revoke(&[&own]);
    server.tls.reload().unwrap();
    let outcome = server.shake("localhost", config).await;
    assert!(matches!(outcome.server, Err(HandshakeError::Refused(_))), "{:?}", outcome.server);
}

#[tokio::test]
async fn a_watch_finds_new_files() {
    let setup = Setup::new(&["localhost"]);
    let server = setup.open();
    let (tell, told) = std::sync::mpsc::channel();
    let watch = std::sync::Arc::clone(&server.tls).watch(Duration::from_millis(5), move |looked| {
        if looked.is_ok_and(|changed| changed) {
            tell.send(()).unwrap();
        }
    });
    let watch = tokio::spawn(watch);
    let _ = setup.authority.server(&["localhost"]).write(setup.folder.path(), "server0");
    for _ in 0..1000 {
        if setup.metrics().contains("adulis_tls_reloads_total{outcome=\"ok\"} 1") && told.try_recv().is_ok() {
            watch.abort();
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{}", setup.metrics());
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
