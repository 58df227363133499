//! A wall clock that jumps, as libfaketime has it: what counts by it does, and nothing else notices.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adulis_testing::{IdentityModel, RawConnection, RawResponse, TestClock, TestRepository, TestServer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use crate::ask;
use crate::support::{after, byte_model};

/// A server whose wall clock this is.
fn serve(
    clock: &TestClock,
    (repository, folder): (&TestRepository, &Path),
    configuration: &str,
) -> TestServer {
    let exported = |(name, value): (&str, OsString)| format!("export {name}={}\n", value.display());
    let words: String = clock.environment().into_iter().map(exported).collect();
    let file = folder.join("adulis.toml");
    fs::write(&file, configuration).unwrap();
    let arguments = [
        repository.path().to_str().unwrap(),
        "--config",
        file.to_str().unwrap(),
    ];
    TestServer::start(&after(folder, &words), &arguments).unwrap()
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
    let clock = TestClock::new();
    let server = serve(&clock, (&repository, folder.path()), &configuration);
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
        clock.set(offset);
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
    clock.set("+400d");
    assert_eq!(ask(&mut connection, "digits", &[SECRET], 99).await.status, 500);
    let then = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(400 * 86_400));
    let month = then.to_string()[..7].to_owned();
    server.logged(&["request failed", &format!("\"timestamp\":\"{month}-")]).await;
}

/// What is left: of requests, of those at a time, of rows of the day.
fn left(answer: &RawResponse) -> [u64; 3] {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.header("ratelimit").unwrap();
    ["requests", "concurrent-requests", "rows-per-day"].map(|limit| {
        let (_, rest) = told.split_once(&format!("\"{limit}\";r=")).unwrap();
        rest.split([';', ',']).next().unwrap().parse().unwrap()
    })
}

/// The days are those of noon, whatever time it is: none of them ends by itself.
#[tokio::test]
async fn jumps_of_the_clock_give_and_take_nothing_but_days() {
    const REQUESTS: u64 = 1000;
    const ROWS: u64 = 500;
    let (repository, folder) = (TestRepository::new().unwrap(), tempfile::tempdir().unwrap());
    repository.identity("digits", &byte_model(&[])).unwrap();
    repository.identity("slow", &byte_model(&[("execute_delay_ms", "1000")])).unwrap();
    let configuration = format!(
        "[quotas.default]\nrequests_per_second = 0.001\nrequests_burst = {REQUESTS}\nconcurrent_requests = 2\nrows_per_day = {ROWS}\n"
    );
    let clock = TestClock::new();
    let server = serve(&clock, (&repository, folder.path()), &configuration);
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    let (mut asked, mut of_day) = (0, 0);
    for (date, is_another_day) in [
        ("2030-06-15", true),
        ("2030-06-16", true),
        // One that was had already, and all before it.
        ("2030-06-15", false),
        ("2028-01-01", false),
        // And so the clock was wrong: it is set right.
        ("2028-01-02", true),
        ("2035-01-01", true),
    ] {
        let mut other = server.connect().await.unwrap();
        let under_way = tokio::spawn(async move { ask(&mut other, "slow", &[], 7).await.status });
        server.metric_reaches("adulis_executing_batches", &["model=\"slow\""], 1.0).await;
        clock.set(&format!("@{date} 12:00:00"));
        asked += 2;
        of_day = if is_another_day { 1 } else { of_day + 2 };
        let answer = ask(&mut connection, "digits", &[], 7).await;
        assert_eq!(left(&answer), [REQUESTS - asked, 0, ROWS - of_day], "{date}, with another under way");
        assert_eq!(under_way.await.unwrap(), 200, "{date}");
        (asked, of_day) = (asked + 1, of_day + 1);
        let answer = ask(&mut connection, "digits", &[], 7).await;
        assert_eq!(left(&answer), [REQUESTS - asked, 1, ROWS - of_day], "{date}");
    }
}
