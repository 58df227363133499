use std::time::{Duration, Instant};

use crate::{DENIED, Guarded, OK, UNAUTHENTICATED};

/// `ops-key` and `header-key`, by their digests.
const CONFIGURED: &str = r#"
[auth.keys.operations]
digest = "sha256:OPS"
scopes = ["repository", "infer"]
models = ["team-a-*"]

[auth.keys.restricted]
digest = "sha256:HEADER"
header = "admin-key"
scopes = ["infer"]
"#;

fn digest(key: &str) -> String {
    adulis::security::KeyDigest::of(key.as_bytes()).to_string()
}

fn configured() -> String {
    CONFIGURED
        .replace("sha256:OPS", &digest("ops-key"))
        .replace("sha256:HEADER", &digest("header-key"))
}

#[tokio::test]
async fn who_has_no_valid_key_gets_nothing_but_health() {
    let guarded = Guarded::start("", &[]).await;
    let (_, infer) = guarded.key(&["--scope", "infer"]);
    let (_, narrower) = guarded.key(&["--scope", "metadata,repository", "--scope", "statistics"]);
    let (_, one_model) = guarded.key(&["--scope", "infer", "--model", "team-a-*"]);
    let (expiring, expired) = guarded.key(&["--scope", "admin", "--expires", "1s"]);
    let bearer = |key: &str| format!("Bearer {key}");
    for (name, value, expected) in [
        ("authorization", bearer(&infer), OK),
        ("x-api-key", infer.clone(), OK),
        ("authorization", bearer(&narrower), DENIED),
        ("authorization", bearer(&one_model), DENIED),
        ("x-other", bearer(&infer), UNAUTHENTICATED),
        ("authorization", infer.clone(), UNAUTHENTICATED),
        ("authorization", format!("Basic {infer}"), UNAUTHENTICATED),
        ("authorization", bearer(""), UNAUTHENTICATED),
        ("x-api-key", format!("{infer}x"), UNAUTHENTICATED),
        ("x-api-key", infer[..infer.len() - 1].to_owned(), UNAUTHENTICATED),
        ("x-api-key", infer.to_uppercase(), UNAUTHENTICATED),
        ("x-api-key", "adulis_' OR 1=1 --".replace(' ', ""), UNAUTHENTICATED),
        ("x-api-key", format!("adulis_{}", "A".repeat(43)), UNAUTHENTICATED),
    ] {
        assert_eq!(guarded.infer("digits", &[(name, &value)]).await, expected, "{name}: {value}");
    }
    assert_eq!(guarded.infer("team-a-x", &[("x-api-key", &one_model)]).await, OK);
    assert_eq!(guarded.infer("digits", &[]).await, UNAUTHENTICATED);
    // Twice the same is no better than twice something else.
    let twice = [("x-api-key", infer.as_str()), ("x-api-key", infer.as_str())];
    assert_eq!(guarded.infer("digits", &twice).await, UNAUTHENTICATED);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(guarded.infer("digits", &[("x-api-key", &expired)]).await, UNAUTHENTICATED, "{expiring}");
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"] {
        assert_eq!(guarded.server.get(path).await.unwrap().status, 200, "{path}");
    }
    for path in [
        "/v2",
        "/v2/models/digits",
        "/v2/models/stats",
        "/v2/logging",
        "/v2/cache",
        "/v1/models",
    ] {
        assert_eq!(guarded.server.get(path).await.unwrap().status, 401, "{path}");
    }
    let refused = ["kind=\"api_key\"", "outcome=\"unknown\""];
    assert!(guarded.server.metric("adulis_auth_requests_total", &refused).await.unwrap() >= 4.0);
}

#[tokio::test]
async fn a_key_that_is_revoked_is_soon_refused_by_every_replica() {
    let one = Guarded::start("", &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let other_store = crate::store(one.folder.path());
    let other = Guarded::start_in(folder, "", &["--set", &other_store]).await;
    let (id, key) = one.key(&["--scope", "infer"]);
    let sent = [("authorization", format!("Bearer {key}"))];
    let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for server in [&one, &other] {
        assert_eq!(server.infer("digits", &sent).await, OK);
    }
    assert!(one.keys(&["revoke", &id]).status.success());
    for server in [&one, &other] {
        let begun = Instant::now();
        while server.infer("digits", &sent).await != UNAUTHENTICATED {
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", server.server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn keys_of_the_configuration_need_no_database() {
    let guarded = Guarded::start(&configured(), &["--set", "auth.api_keys=false"]).await;
    assert!(!guarded.folder.path().join("adulis.db").exists());
    let operations = [("x-api-key", "ops-key")];
    assert_eq!(guarded.infer("team-a-x", &operations).await, OK);
    assert_eq!(guarded.infer("digits", &operations).await, DENIED);
    for (model, status) in [("team-a-x", 200), ("digits", 403), ("team-a-../digits", 400)] {
        let line = format!("POST /v2/repository/models/{}/load", model.replace('/', "%2F"));
        let answer = guarded.ask(&line, "ops-key", "").await;
        assert_eq!(answer.status, status, "{model}: {}", answer.text());
    }
    // Triton's clients have their keys in headers of their own.
    let rest = guarded.server.infer("digits", &["Admin-Key: header-key"], &crate::byte_json(1)).await;
    assert_eq!(rest.unwrap().status, 200);
    let message = crate::byte_message("digits", 1);
    let sent = [("triton-grpc-protocol-admin-key", "header-key")];
    assert_eq!(crate::infer_raw(&guarded.server, &sent, &message).await.0, 0);
    assert_eq!(crate::infer_raw(&guarded.server, &[("admin-key", "header-key")], &message).await.0, 16);
    assert_eq!(guarded.infer("digits", &[("x-api-key", "header-key")]).await, UNAUTHENTICATED);
    let wrong = guarded.server.infer("digits", &["admin-key: ops-key"], &crate::byte_json(1)).await;
    assert_eq!(wrong.unwrap().status, 401);
}

#[tokio::test]
async fn what_clients_without_credentials_may_do_is_configured() {
    let open = ["--set", r#"auth.anonymous=["infer"]"#];
    let guarded = Guarded::start("", &open).await;
    assert_eq!(guarded.infer("digits", &[]).await, OK);
    // Wrong credentials are not taken for none.
    assert_eq!(guarded.infer("digits", &[("x-api-key", "wrong")]).await, UNAUTHENTICATED);
    assert_eq!(guarded.server.get("/v2/health/live").await.unwrap().status, 401);
    assert_eq!(guarded.server.get_on("metrics", "/metrics").await.unwrap().status, 401);
}

#[tokio::test]
async fn a_store_that_is_down_lets_nobody_in_who_is_not_known() {
    let mut database = adulis_testing::PostgresServer::start().expect("PostgreSQL starts");
    let url = format!("store.url={}", database.url());
    let short = "store.pool.acquire_timeout=300ms";
    let guarded = Guarded::start("", &["--set", &url, "--set", short, "--set", "auth.outage=1h"]).await;
    let create = || {
        let output = crate::keys(guarded.folder.path(), &["--set", &url, "create", "k", "--scope", "infer"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (known, unknown) = (create(), create());
    assert_eq!(guarded.infer("digits", &[("x-api-key", &known)]).await, OK);
    database.stop().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(guarded.infer("digits", &[("x-api-key", &known)]).await, OK);
    assert_eq!(guarded.infer("digits", &[("x-api-key", &unknown)]).await, (503, 14));
    assert_eq!(guarded.infer("digits", &[]).await, UNAUTHENTICATED);
}
