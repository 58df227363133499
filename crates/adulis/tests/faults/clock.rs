//! A wall clock that jumps, as libfaketime has it: what counts by it does, and nothing else notices.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adulis_testing::{IdentityModel, RawConnection, TestRepository, TestServer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use crate::support::byte_model;
use crate::{after, ask};

/// The library that stands between a process and the time.
fn library() -> PathBuf {
    let installed = fs::read_dir("/usr/lib").unwrap().flatten();
    let candidates = installed.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    candidates.into_iter().find(|path| path.exists()).unwrap_or_else(|| {
        panic!("libfaketime is missing, and this test needs it: `apt-get install libfaketime`, or run `cargo xtask test`")
    })
}

/// A server whose wall clock is as far off as `file` says.
fn serve(repository: &TestRepository, folder: &Path, configuration: &str) -> TestServer {
    set(folder, "+0");
    let words = format!(
        "export LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1",
        library().display(),
        folder.join("time").display()
    );
    let file = folder.join("adulis.toml");
    fs::write(&file, configuration).unwrap();
    let arguments = [
        repository.path().to_str().unwrap(),
        "--config",
        file.to_str().unwrap(),
    ];
    TestServer::start(&after(folder, &words), &arguments).unwrap()
}

/// Lets the clock jump. The file appears as a whole.
fn set(folder: &Path, offset: &str) {
    fs::write(folder.join("time.new"), offset).unwrap();
    fs::rename(folder.join("time.new"), folder.join("time")).unwrap();
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token that is valid for an hour by the true time, and the keys of who signed it.
fn token() -> (String, String) {
    let pair = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
    let claims = json!({ "iss": "https://issuer.example", "aud": "adulis", "sub": "ann", "exp": end, "scope": "infer" });
    let message =
        format!("{}.{}", b64(json!({ "alg": "EdDSA", "kid": "k1" }).to_string()), b64(claims.to_string()));
    let signature = pair.sign(message.as_bytes());
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key()), "kid": "k1" });
    (format!("{message}.{}", b64(signature)), json!({ "keys": [key] }).to_string())
}

/// By what a client is known that is known for ever.
const DIGEST: &str = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const SECRET: &str = "x-api-key: secret";

async fn status(connection: &mut RawConnection, header: &str) -> u16 {
    ask(connection, "digits", &[header, "x-request-timeout-ms: 5000"], 7).await.status
}

async fn is_cached(connection: &mut RawConnection) -> bool {
    let answer = ask(connection, "cached", &[SECRET], 7).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("adulis-cache").unwrap().starts_with("hit")
}

#[tokio::test]
async fn jumps_of_the_clock_end_nothing_but_what_has_an_end_by_it() {
    let (repository, folder) = (TestRepository::new().unwrap(), tempfile::tempdir().unwrap());
    repository.identity("digits", &byte_model(&[("fail_on", "99")])).unwrap();
    repository.identity("slow", &byte_model(&[("execute_delay_ms", "1500")])).unwrap();
    let more = "response_cache { enable: true }";
    repository.identity("cached", &IdentityModel { more, ..byte_model(&[]) }).unwrap();
    let (token, keys) = token();
    let file = folder.path().join("keys.json");
    fs::write(&file, keys).unwrap();
    let configuration = format!(
        "[auth]\nenabled = true\napi_keys = false\nttl = '100ms'\n[auth.keys.operations]\ndigest = '{DIGEST}'\nscopes = ['infer']\n\
         [auth.jwt]\nissuer = 'https://issuer.example'\naudience = ['adulis']\nalgorithms = ['EdDSA']\njwks_file = '{}'\n\
         [cache]\nttl = '1h'\n",
        file.display()
    );
    let server = serve(&repository, folder.path(), &configuration);
    server.ready().await;
    let token = format!("authorization: Bearer {token}");
    let mut connection = server.connect().await.unwrap();
    assert!(!is_cached(&mut connection).await);
    for (offset, is_valid) in [
        ("+0", true),
        ("+2d", false),
        ("-2d", true),
        ("+5y", false),
        ("+0", true),
    ] {
        // One is under way while the clock jumps.
        let mut other = server.connect().await.unwrap();
        let under_way = tokio::spawn(async move {
            ask(&mut other, "slow", &[SECRET, "x-request-timeout-ms: 10000"], 7).await.status
        });
        server.metric_reaches("adulis_executing_batches", &["model=\"slow\""], 1.0).await;
        set(folder.path(), offset);
        // What was verified is known for a moment.
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(status(&mut connection, SECRET).await, 200, "{offset}");
        let expected = if is_valid { 200 } else { 401 };
        assert_eq!(status(&mut connection, &token).await, expected, "{offset}");
        assert!(is_cached(&mut connection).await, "{offset}");
        assert_eq!(server.get("/v2/health/ready").await.unwrap().status, 200, "{offset}");
        assert_eq!(under_way.await.unwrap(), 200, "{offset}");
    }
    // The jumps were there: the log has them.
    set(folder.path(), "+400d");
    assert_eq!(ask(&mut connection, "digits", &[SECRET], 99).await.status, 500);
    let then = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(400 * 86_400));
    let month = then.to_string()[..7].to_owned();
    server.logged(&["request failed", &format!("\"timestamp\":\"{month}-")]).await;
}
