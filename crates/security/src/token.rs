//! Signed tokens (JWT) of one issuer.
//!
//! Source: RFC 7519, and RFC 8725 for what must not be taken.

mod claims;
mod key_set;
mod key_set_source;
mod options;
mod ring_verifier;

use std::sync::Arc;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use self::key_set::KeySet;
use self::key_set_source::{KeySetSource, Keys};
pub use self::options::{KeySetPlace, TokenAlgorithm, TokenOptions};
use crate::identity_cache::Outcome;
use crate::{AuthError, KeyDigest};

/// Verifies tokens.
pub(crate) struct Tokens {
    options: TokenOptions,
    validation: Validation,
    source: Arc<KeySetSource>,
}

/// What becomes of a token.
pub(crate) enum Verified {
    /// It is known who sends it, or that it is nobody's.
    Known(Outcome),
    /// The same, and the keys should be fetched before the next one.
    Due(Outcome),
    /// The keys have to be fetched first.
    Absent,
}

impl Tokens {
    /// # Errors
    /// What is wrong with the keys' file.
    pub(crate) fn new(options: TokenOptions) -> Result<Self, String> {
        ring_verifier::install();
        let algorithms: Vec<Algorithm> = options.algorithms.iter().map(|algorithm| algorithm.0).collect();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = options.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&options.issuer]);
        validation.set_audience(&options.audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let times = (options.refresh, options.outage);
        let source = Arc::new(KeySetSource::new(&options.keys, algorithms, times)?);
        Ok(Self { options, validation, source })
    }

    /// Whether a text looks like a token: three parts, the first of which is a JSON object.
    pub(crate) fn is_candidate(text: &str) -> bool {
        text.starts_with("ey") && text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Verifies a token with the keys that are known.
    pub(crate) fn verify(&self, token: &str, digest: KeyDigest) -> Verified {
        match self.source.keys() {
            Keys::Absent => Verified::Absent,
            Keys::Fresh(keys) => match self.with(&keys, token, digest) {
                // The issuer may have a new one.
                Err(AuthError::Token { reason: NO_KEY }) => Verified::Absent,
                outcome => Verified::Known(outcome),
            },
            Keys::Due(keys) => match self.with(&keys, token, digest) {
                Err(AuthError::Token { reason: NO_KEY }) => Verified::Absent,
                outcome => Verified::Due(outcome),
            },
        }
    }

    /// Fetches the keys, and verifies a token with what is known then.
    pub(crate) async fn verify_anew(&self, token: &str, digest: KeyDigest) -> Outcome {
        self.source.fetch().await;
        match self.source.keys() {
            Keys::Fresh(keys) | Keys::Due(keys) => self.with(&keys, token, digest),
            Keys::Absent => Err(AuthError::Unavailable),
        }
    }

    /// Has the keys fetched in the background.
    pub(crate) fn fetch_aside(&self) {
        self.source.fetch_aside();
    }

    fn with(&self, keys: &KeySet, token: &str, digest: KeyDigest) -> Outcome {
        let header = decode_header(token).map_err(|error| refusal(&error))?;
        let claims = self.claims(keys, token, &header)?;
        let identity = claims::identity(&claims, &self.options, digest);
        identity
            .map(Arc::new)
            .ok_or(AuthError::Token { reason: "it does not say whom it is for" })
    }

    fn claims(&self, keys: &KeySet, token: &str, header: &Header) -> Result<Map<String, Value>, AuthError> {
        // What must be understood is not.
        if header.crit.is_some() {
            return Err(AuthError::Token { reason: "its header has critical parts that are not understood" });
        }
        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        let mut outcome = Err(AuthError::Token { reason: NO_KEY });
        for key in keys.candidates(header.kid.as_deref(), header.alg) {
            match decode::<Map<String, Value>>(token, key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => outcome = Err(refusal(&error)),
            }
        }
        outcome
    }
}

const NO_KEY: &str = "the issuer has no key for it";

/// What is said of a token that is not taken. Nothing that is in it is repeated.
fn refusal(error: &Error) -> AuthError {
    AuthError::Token {
        reason: match error.kind() {
            ErrorKind::ExpiredSignature => return AuthError::Expired,
            ErrorKind::InvalidSignature => "its signature is wrong",
            ErrorKind::InvalidIssuer => "it is another issuer's",
            ErrorKind::InvalidAudience => "it is meant for another audience",
            ErrorKind::ImmatureSignature => "its time has not come",
            ErrorKind::MissingRequiredClaim(_) => "it lacks one of the claims exp, iss and aud",
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::InvalidKeyFormat => {
                "it is not signed in a way that is taken here"
            }
            _ => "it is no token that can be read",
        },
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.options.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
