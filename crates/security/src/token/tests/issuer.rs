//! Somebody who issues tokens, rightly and wrongly.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

/// Made for these tests, and good for nothing else.
const RSA_KEY: &str = include_str!("rsa_key.b64");

pub(super) struct Issuer {
    random: SystemRandom,
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    pub(super) fn new() -> Self {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        let rsa = STANDARD.decode(RSA_KEY.replace('\n', "")).unwrap();
        Self {
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(curve, ec.as_ref(), &random).unwrap(),
            rsa: RsaKeyPair::from_der(&rsa).unwrap(),
            random,
        }
    }

    /// The public keys, and what should not be among them.
    pub(super) fn key_set(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        let ed = b64(self.ed.public_key());
        json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "x": ed, "kid": "ed", "alg": "EdDSA", "use": "sig" },
            { "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]), "kid": "ec" },
            { "kty": "RSA", "n": b64(n), "e": b64(e), "kid": "rsa" },
            { "kty": "OKP", "crv": "Ed25519", "x": ed, "kid": "encryption", "use": "enc" },
            { "kty": "oct", "k": b64("a shared secret"), "kid": "secret", "alg": "HS256" },
            { "kty": "new", "kid": "later" },
        ] })
    }

    /// What a public RSA key looks like to somebody who takes it for a secret.
    pub(super) fn public_rsa_key(&self) -> Vec<u8> {
        self.rsa.public_key().as_ref().to_vec()
    }

    /// A token as its header says, signed by the key of `by`.
    pub(super) fn sign(&self, by: &str, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let bytes = message.as_bytes();
        let signature = match by {
            "ed" => self.ed.sign(bytes).as_ref().to_vec(),
            "ec" => self.ec.sign(&self.random, bytes).unwrap().as_ref().to_vec(),
            "rsa" | "pss" => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                let padding: &dyn ring::signature::RsaEncoding =
                    if by == "rsa" { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
                self.rsa.sign(padding, &self.random, bytes, &mut signature).unwrap();
                signature
            }
            "nobody" => Vec::new(),
            secret => {
                let secret = if secret == "rsa as secret" { self.public_rsa_key() } else { secret.into() };
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
                ring::hmac::sign(&key, bytes).as_ref().to_vec()
            }
        };
        format!("{message}.{}", b64(signature))
    }
}
