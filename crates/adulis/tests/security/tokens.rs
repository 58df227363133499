use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::{DENIED, Guarded, OK, UNAUTHENTICATED};

struct Issuer(Ed25519KeyPair);

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    fn new() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn key_set(&self) -> String {
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(self.0.public_key()), "kid": "k1" });
        json!({ "keys": [key] }).to_string()
    }

    /// Signed with what everybody knows, as if it were a secret.
    fn token_by_secret(secret: &[u8]) -> String {
        let message = format!("{}.{}", b64(r#"{"alg":"HS256","kid":"k1"}"#), b64(claims(60).to_string()));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", b64(signature))
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.0.sign(message.as_bytes());
        format!("{message}.{}", b64(signature))
    }
}

fn claims(lasts: i64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let exp = i64::try_from(now).unwrap() + lasts;
    json!({ "iss": "https://issuer.example", "aud": "adulis", "sub": "ann", "exp": exp, "scope": "infer" })
}

#[tokio::test]
async fn tokens_are_taken_as_their_issuer_signed_them() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, issuer.key_set()).unwrap();
    let configuration = format!(
        "[auth.jwt]\nissuer = 'https://issuer.example'\naudience = ['adulis']\nalgorithms = ['EdDSA']\n\
         jwks_file = '{}'\nleeway = '0s'\nmodels_claim = 'models'\n",
        file.display()
    );
    let guarded = Guarded::start_in(folder, &configuration, &["--set", "store.usage=true"]).await;
    let header = json!({ "alg": "EdDSA", "kid": "k1" });
    let mut limited = claims(60);
    limited["models"] = json!(["team-a-*"]);
    let mut swapped = claims(60);
    swapped["iss"] = json!("https://evil.example");
    let mut audience = claims(60);
    audience["aud"] = json!("somebody-else");
    let mut reader = claims(60);
    reader["scope"] = json!("metadata openid");
    let none = format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(claims(60).to_string()));
    for (token, expected) in [
        (issuer.token(&header, &claims(60)), OK),
        (issuer.token(&header, &limited), DENIED),
        (issuer.token(&header, &reader), DENIED),
        (issuer.token(&header, &swapped), UNAUTHENTICATED),
        (issuer.token(&header, &audience), UNAUTHENTICATED),
        (issuer.token(&header, &claims(-1)), UNAUTHENTICATED),
        (issuer.token(&json!({ "alg": "HS256", "kid": "k1" }), &claims(60)), UNAUTHENTICATED),
        (issuer.token(&json!({ "alg": "RS256", "kid": "k1" }), &claims(60)), UNAUTHENTICATED),
        (other.token(&header, &claims(60)), UNAUTHENTICATED),
        (none, UNAUTHENTICATED),
        (Issuer::token_by_secret(issuer.0.public_key().as_ref()), UNAUTHENTICATED),
        (Issuer::token_by_secret(b64(issuer.0.public_key()).as_bytes()), UNAUTHENTICATED),
        (Issuer::token_by_secret(issuer.key_set().as_bytes()), UNAUTHENTICATED),
        (Issuer::token_by_secret(b""), UNAUTHENTICATED),
    ] {
        let sent = format!("Bearer {token}");
        assert_eq!(guarded.infer("digits", &[("authorization", &sent)]).await, expected, "{token}");
    }
    let limited = format!("Bearer {}", issuer.token(&header, &limited));
    assert_eq!(guarded.infer("team-a-x", &[("authorization", &limited)]).await, OK);
    // A token that was valid a moment ago is known, and ends all the same.
    let short = format!("Bearer {}", issuer.token(&header, &claims(2)));
    assert_eq!(guarded.infer("digits", &[("authorization", &short)]).await, OK);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(guarded.infer("digits", &[("authorization", &short)]).await, UNAUTHENTICATED);
    let log = guarded.server.log();
    assert!(!log.contains("panicked"), "{log}");
}
