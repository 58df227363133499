use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adulis_security::{AuthOptions, Authenticator, KeySetPlace, TokenAlgorithm, TokenOptions};
use adulis_telemetry::AuthMetrics;
use adulis_types::{
    AccessControl, Header, Identification, Identity, IdentityKind, Presented, RequestHeaders, Scopes, Wire,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "adulis";

/// Tokens and key sets: the first byte chooses whether the rest is a key set, a token as it is, or the header and, behind a line
/// break, the claims of a token that the issuer signs. Nobody is somebody without a signature of the issuer's over claims
/// that are in order.
#[must_use]
pub fn token(input: &[u8]) -> bool {
    let Some((kind, rest)) = input.split_first() else {
        return false;
    };
    BENCH.with(|bench| match kind % 3 {
        0 => bench.reads_key_set(rest),
        1 => std::str::from_utf8(rest).is_ok_and(|token| bench.takes(token)),
        _ => {
            let mut parts = rest.splitn(2, |byte| *byte == b'\n');
            let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            bench.takes(&bench.signed(header, claims))
        }
    })
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

/// An issuer, and who takes its tokens.
struct Bench {
    folder: TempDir,
    key: Ed25519KeyPair,
    authenticator: Authenticator,
}

impl Bench {
    fn new() -> Self {
        // Always the same, so that seeds can hold tokens.
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed of 32 bytes is a key");
        let folder = tempfile::tempdir().expect("a folder for key sets can be made");
        let public = URL_SAFE_NO_PAD.encode(key.public_key());
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": public, "kid": "k" }] });
        let path = folder.path().join("issuer.json");
        fs::write(&path, set.to_string()).expect("the issuer's key set can be written");
        let authenticator = authenticator(path).expect("the issuer's key set is sound");
        Self { folder, key, authenticator }
    }

    fn reads_key_set(&self, set: &[u8]) -> bool {
        let path = self.folder.path().join("keys.json");
        fs::write(&path, set).expect("a key set can be written");
        authenticator(path).is_ok()
    }

    fn signed(&self, header: &[u8], claims: &[u8]) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn takes(&self, token: &str) -> bool {
        let value = format!("Bearer {token}");
        let presented =
            Presented { wire: Wire::Rest, headers: &Authorization(value.as_bytes()), certificate: None };
        let Identification::Known(Ok(identity)) = self.authenticator.identify(&presented) else {
            return false;
        };
        assert!(self.is_rightful(token.trim_ascii(), &identity), "{token} is {identity:?}");
        true
    }

    /// The same judgement, made plainly: whether the issuer says this, in this time, to us, of this somebody.
    fn is_rightful(&self, token: &str, identity: &Identity) -> bool {
        let read = || {
            let (message, signature) = token.rsplit_once('.')?;
            let (header, claims) = message.split_once('.')?;
            let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
            UnparsedPublicKey::new(&ED25519, self.key.public_key())
                .verify(message.as_bytes(), &signature)
                .ok()?;
            let object =
                |part| serde_json::from_slice::<Map<String, Value>>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
            Some((object(header)?, object(claims)?))
        };
        let Some((header, claims)) = read() else {
            return false;
        };
        let names = |claim: &str, wanted: &str| match &claims[claim] {
            Value::Array(names) => names.iter().any(|name| name == wanted),
            name => name == wanted,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = LEEWAY.as_secs_f64() + 1.0;
        let at = |claim: &str| claims.get(claim).and_then(Value::as_f64);
        identity.kind == IdentityKind::Token
            && header["alg"] == "EdDSA"
            && header.get("crit").is_none_or(Value::is_null)
            && header.get("kid").is_none_or(|kid| kid.is_null() || kid == "k")
            && names("iss", ISSUER)
            && names("aud", AUDIENCE)
            && claims["sub"] == identity.name.as_str()
            && at("exp").is_some_and(|exp| exp >= now - leeway)
            && at("nbf").is_none_or(|nbf| nbf <= now + leeway)
    }
}

const LEEWAY: Duration = Duration::from_secs(30);

fn authenticator(keys: PathBuf) -> Result<Authenticator, adulis_security::AuthSetupError> {
    let algorithms = ["EdDSA", "ES256", "RS256", "PS512"].into_iter().filter_map(TokenAlgorithm::named);
    let tokens = TokenOptions {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        algorithms: algorithms.collect(),
        keys: KeySetPlace::File(keys),
        refresh: Duration::from_secs(1 << 30),
        outage: Duration::from_secs(1 << 30),
        leeway: LEEWAY,
        name_claim: "sub".to_owned(),
        scopes_claim: "scope".to_owned(),
        scope_prefix: String::new(),
        scopes: Scopes::NONE,
        models_claim: Some("models".to_owned()),
        quota_claim: Some("quota".to_owned()),
    };
    // Nothing is remembered for longer than the one look.
    let options = AuthOptions {
        tokens: Some(tokens),
        ttl: Duration::ZERO,
        capacity: 16,
        ..AuthOptions::default()
    };
    Authenticator::new(options, None, AuthMetrics::default())
}

struct Authorization<'a>(&'a [u8]);

impl RequestHeaders for Authorization<'_> {
    fn header(&self, name: &str) -> Header<'_> {
        if name == "authorization" { Header::One(self.0) } else { Header::Absent }
    }
}
