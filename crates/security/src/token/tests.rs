mod issuer;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adulis_types::{IdentityKind, Scope, Scopes};
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use self::issuer::{Issuer, b64};
use super::*;

const ISSUER: &str = "https://issuer.example";

fn options(keys: KeySetPlace) -> TokenOptions {
    TokenOptions {
        issuer: ISSUER.to_owned(),
        audiences: vec!["adulis".to_owned(), "other".to_owned()],
        algorithms: ["RS256", "ES256", "EdDSA"].map(|name| TokenAlgorithm::named(name).unwrap()).into(),
        keys,
        refresh: Duration::from_secs(600),
        outage: Duration::from_secs(600),
        leeway: Duration::from_secs(30),
        name_claim: "sub".to_owned(),
        scopes_claim: "scope".to_owned(),
        scope_prefix: "adulis:".to_owned(),
        scopes: Scopes::NONE.with(Scope::Metadata),
        models_claim: Some("models".to_owned()),
        quota_claim: Some("plan".to_owned()),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "adulis", "sub": "ann", "exp": now() + 60,
        "scope": "openid adulis:infer adulis:later repository", "models": ["team-*"],
    })
}

/// The claims, with one of them changed, or gone where it is null.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

/// Tokens of an issuer whose keys are in a file.
fn tokens(issuer: &Issuer) -> (tempfile::TempDir, Tokens) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, issuer.key_set().to_string()).unwrap();
    (folder, Tokens::new(options(KeySetPlace::File(path))).unwrap())
}

fn verify(tokens: &Tokens, token: &str) -> Outcome {
    match tokens.verify(token, KeyDigest::of(token.as_bytes())) {
        Verified::Known(outcome) | Verified::Due(outcome) => outcome,
        Verified::Absent => Err(AuthError::Token { reason: NO_KEY }),
    }
}

#[tokio::test]
async fn a_token_says_who_sends_it_and_what_they_may_do() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer);
    for (by, header) in [
        ("ed", json!({ "alg": "EdDSA", "kid": "ed", "typ": "JWT" })),
        ("ec", json!({ "alg": "ES256", "kid": "ec" })),
        ("rsa", json!({ "alg": "RS256", "kid": "rsa" })),
        ("rsa", json!({ "alg": "RS256" })),
    ] {
        let token = issuer.sign(by, &header, &claims());
        assert!(Tokens::is_candidate(&token));
        let identity = verify(&tokens, &token).unwrap();
        assert_eq!((identity.name.as_str(), identity.kind), ("ann", IdentityKind::Token), "{by}");
        let may = |scope| identity.may(scope, Some("team-a"));
        assert!(may(Scope::Infer) && may(Scope::Metadata) && !may(Scope::Repository), "{identity:?}");
        assert!(!identity.may(Scope::Infer, Some("other")));
        let left = identity.expires_at.unwrap().duration_since(SystemTime::now()).unwrap();
        assert!((80..=90).contains(&left.as_secs()), "with the leeway: {left:?}");
    }
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    for (plan, class) in [
        (json!("gold"), "gold"),
        (Value::Null, ""),
        (json!(["gold"]), ""),
        (json!("g\nold"), ""),
        (json!("g".repeat(300)), ""),
    ] {
        let token = issuer.sign("ed", &header, &with("plan", plan));
        assert_eq!(verify(&tokens, &token).unwrap().quota, class);
    }
    for (claims, infers) in [
        (with("scope", json!(["adulis:infer"])), true),
        (with("scope", json!(7)), false),
        (with("scope", json!("infer")), false),
        (with("aud", json!(["x", "other"])), true),
        (with("models", Value::Null), true),
        (with("models", json!([])), false),
        (with("exp", json!(now() - 20)), true),
        (with("nbf", json!(now() + 20)), true),
    ] {
        let identity = verify(&tokens, &issuer.sign("ed", &header, &claims)).unwrap();
        assert_eq!(identity.may(Scope::Infer, Some("team-a")), infers, "{claims}");
    }
}

#[tokio::test]
async fn claims_that_are_wrong_or_missing_are_refused() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer);
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    for (claims, reason) in [
        (with("iss", json!("https://evil.example")), "another issuer"),
        (with("iss", json!([])), "another issuer"),
        (with("iss", json!({})), "lacks"),
        (with("iss", Value::Null), "lacks"),
        (with("aud", json!("adulis2")), "another audience"),
        (with("aud", json!([])), "another audience"),
        (with("aud", Value::Null), "lacks"),
        (with("exp", json!(now() - 31)), "expired"),
        (with("exp", json!("tomorrow")), "lacks"),
        (with("exp", json!(-1)), "lacks"),
        (with("exp", Value::Null), "lacks"),
        (with("nbf", json!(now() + 60)), "not come"),
        (with("sub", Value::Null), "whom it is for"),
        (with("sub", json!("")), "whom it is for"),
        (with("sub", json!("ann\nadmin")), "whom it is for"),
        (with("sub", json!("x".repeat(257))), "whom it is for"),
    ] {
        let refused = verify(&tokens, &issuer.sign("ed", &header, &claims)).unwrap_err().to_string();
        assert!(refused.contains(reason), "{claims}: {refused}");
    }
}

#[tokio::test]
async fn no_other_way_to_sign_is_taken() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let (_folder, tokens) = tokens(&issuer);
    let own_key = other.key_set()["keys"][0].clone();
    for (by, header) in [
        // No signature at all.
        ("nobody", json!({ "alg": "none" })),
        ("nobody", json!({ "alg": "None", "kid": "ed" })),
        ("nobody", json!({ "alg": "" })),
        ("nobody", json!({ "kid": "ed" })),
        ("nobody", json!({ "alg": "EdDSA", "kid": "ed" })),
        // A public key taken for a secret, and a secret that lies among the keys.
        ("rsa as secret", json!({ "alg": "HS256", "kid": "rsa" })),
        ("rsa as secret", json!({ "alg": "HS256" })),
        ("a shared secret", json!({ "alg": "HS256", "kid": "secret" })),
        ("a shared secret", json!({ "alg": "HS256" })),
        ("", json!({ "alg": "HS256", "kid": "ed" })),
        // Algorithms that are not pinned, or of another key.
        ("pss", json!({ "alg": "PS256", "kid": "rsa" })),
        ("ed", json!({ "alg": "RS256", "kid": "ed" })),
        ("ed", json!({ "alg": "ES256", "kid": "ed" })),
        ("rsa", json!({ "alg": "EdDSA", "kid": "rsa" })),
        ("ed", json!({ "alg": "EdDSA", "kid": "rsa" })),
        ("ed", json!({ "alg": "EdDSA", "kid": "encryption" })),
        ("ed", json!({ "alg": "EdDSA", "kid": "" })),
        ("ed", json!({ "alg": "EdDSA", "kid": "../ed" })),
        // What must be understood is not.
        ("ed", json!({ "alg": "EdDSA", "kid": "ed", "crit": ["exp"] })),
    ] {
        let token = issuer.sign(by, &header, &claims());
        assert!(verify(&tokens, &token).is_err(), "{by} {header}");
    }
    // Somebody else's key, whoever brings it along.
    for header in [
        json!({ "alg": "EdDSA", "kid": "ed" }),
        json!({ "alg": "EdDSA", "jwk": own_key }),
        json!({ "alg": "EdDSA", "kid": "ed", "jwk": own_key, "jku": "https://evil.example/keys" }),
    ] {
        assert!(verify(&tokens, &other.sign("ed", &header, &claims())).is_err(), "{header}");
    }
}

#[tokio::test]
async fn a_token_that_was_changed_is_refused() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer);
    let token = issuer.sign("ed", &json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    assert!(verify(&tokens, &token).is_ok());
    let parts: Vec<&str> = token.split('.').collect();
    let admin = b64(with("scope", json!("adulis:admin")).to_string());
    for changed in [
        format!("{}.{admin}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.x"),
        format!(".{token}"),
        format!("{token}=="),
        format!("{}\u{0}", token),
        format!("ey..{}", parts[2]),
        "ey.ey.ey".to_owned(),
        "..".to_owned(),
        String::new(),
    ] {
        let outcome = verify(&tokens, &changed);
        assert!(outcome.is_err(), "{changed}");
        let said = outcome.unwrap_err().to_string();
        assert!(!said.contains(parts[1]) && !said.contains("adulis:"), "{said}");
    }
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        // The last character has bits that stand for nothing.
        assert!(verify(&tokens, &changed).is_err() || at + 1 == token.len(), "{at}");
    }
}

#[test]
fn key_sets_without_a_key_of_use_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let secret = json!({ "keys": [{ "kty": "oct", "k": b64("x"), "alg": "HS256" }] }).to_string();
    for text in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"RSA"}]}"#, &secret] {
        std::fs::write(&path, text).unwrap();
        let refused = Tokens::new(options(KeySetPlace::File(path.clone()))).unwrap_err();
        assert!(refused.contains("keys.json"), "{refused}");
    }
    let missing = folder.path().join("missing.json");
    assert!(Tokens::new(options(KeySetPlace::File(missing))).is_err());
}

/// A server that tells a key set, and how often it was asked.
struct KeyServer {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

async fn key_server(answer: String) -> KeyServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
    let (told, count) = (Arc::clone(&answer), Arc::clone(&asked));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let answer = told.lock().clone();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    KeyServer { url, answer, asked }
}

fn with_least_interval(tokens: &mut Tokens, interval: Duration) {
    Arc::get_mut(&mut tokens.source).unwrap().set_least_interval(interval);
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn keys_at_a_url_are_fetched_when_needed_and_again_when_they_change() {
    let (issuer, next) = (Issuer::new(), Issuer::new());
    let server = key_server(response("200 OK", &issuer.key_set().to_string())).await;
    let place = KeySetPlace::Url { url: server.url.clone(), ca_file: None };
    let mut tokens = Tokens::new(options(place)).unwrap();
    with_least_interval(&mut tokens, Duration::ZERO);
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let token = issuer.sign("ed", &header, &claims());
    let digest = KeyDigest::of(token.as_bytes());
    assert!(matches!(tokens.verify(&token, digest), Verified::Absent));
    assert!(tokens.verify_anew(&token, digest).await.is_ok());
    assert!(matches!(tokens.verify(&token, digest), Verified::Known(Ok(_))));
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);

    // The issuer takes another key, under another name.
    let mut set = next.key_set();
    set["keys"][0]["kid"] = json!("ed2");
    *server.answer.lock() = response("200 OK", &set.to_string());
    let rotated = next.sign("ed", &json!({ "alg": "EdDSA", "kid": "ed2" }), &claims());
    assert!(matches!(tokens.verify(&rotated, digest), Verified::Absent));
    assert!(tokens.verify_anew(&rotated, digest).await.is_ok());
    assert!(verify(&tokens, &token).is_err(), "the old key is gone");

    // What the server says then is of no use: what is known stays.
    for answer in [
        response("500 Internal Server Error", ""),
        response("200 OK", "<html>"),
        response("200 OK", &"x".repeat(key_set::MAX_KEY_SET_BYTES + 1)),
        response("302 Found\r\nlocation: http://127.0.0.1:1/", ""),
        String::new(),
    ] {
        *server.answer.lock() = answer;
        tokens.source.fetch().await;
        assert!(verify(&tokens, &rotated).is_ok());
    }
    let asked = server.asked.load(Ordering::SeqCst);
    with_least_interval(&mut tokens, Duration::from_secs(60));
    for _ in 0..10 {
        tokens.source.fetch().await;
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), asked, "nobody makes it ask without end");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_no_fetch() {
    let issuer = Issuer::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let tokens = Tokens::new(options(KeySetPlace::Url { url, ca_file: None })).unwrap();
    let token = issuer.sign("ed", &json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    let digest = KeyDigest::of(token.as_bytes());
    let mut first = Box::pin(tokens.verify_anew(&token, digest));
    let (mut stream, _) = tokio::select! {
        accepted = listener.accept() => accepted.unwrap(),
        _ = &mut first => panic!("nobody has answered"),
    };
    drop(first);
    let answers = async {
        let _ = stream.read(&mut [0; 4096]).await;
        let answer = response("200 OK", &issuer.key_set().to_string());
        stream.write_all(answer.as_bytes()).await
    };
    let (second, answered) = tokio::join!(tokens.verify_anew(&token, digest), answers);
    assert!(second.is_ok() && answered.is_ok(), "{second:?} {answered:?}");
    let again = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(again.is_err(), "the issuer was asked twice");
}

#[tokio::test]
async fn without_keys_nobody_is_known_and_nobody_refused_for_good() {
    let server = key_server(response("503 Service Unavailable", "")).await;
    let place = KeySetPlace::Url { url: server.url.clone(), ca_file: None };
    let tokens = Tokens::new(options(place)).unwrap();
    let token = Issuer::new().sign("ed", &json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    for _ in 0..10 {
        let outcome = tokens.verify_anew(&token, KeyDigest::of(token.as_bytes())).await;
        assert_eq!(outcome, Err(AuthError::Unavailable));
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 3, "twice again, and then it is left alone");
}

#[tokio::test]
async fn an_issuer_that_fails_for_a_moment_is_asked_again_at_once() {
    let issuer = Issuer::new();
    let server = key_server(response("503 Service Unavailable", "")).await;
    let place = KeySetPlace::Url { url: server.url.clone(), ca_file: None };
    let tokens = Tokens::new(options(place)).unwrap();
    let token = issuer.sign("ed", &json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    let recovers = async {
        while server.asked.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        *server.answer.lock() = response("200 OK", &issuer.key_set().to_string());
    };
    let asks = tokens.verify_anew(&token, KeyDigest::of(token.as_bytes()));
    let (outcome, ()) = tokio::join!(asks, recovers);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
}
