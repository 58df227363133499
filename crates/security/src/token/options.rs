use std::path::PathBuf;
use std::time::Duration;

use adulis_types::Scopes;
use jsonwebtoken::Algorithm;

/// Which tokens are taken, and what they say of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOptions {
    /// Who issues them.
    pub issuer: String,
    /// Whom they are meant for: one of these.
    pub audiences: Vec<String>,
    /// How they may be signed.
    pub algorithms: Vec<TokenAlgorithm>,
    /// Where the issuer's public keys are.
    pub keys: KeySetPlace,
    /// How long keys are held for the issuer's before they are fetched again.
    pub refresh: Duration,
    /// How long they are where that fails.
    pub outage: Duration,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// The claim that names whom a token is for.
    pub name_claim: String,
    /// The claim that has the scopes: texts in a list, or one with spaces between them.
    pub scopes_claim: String,
    /// What stands before the names of our scopes there; others are left aside.
    pub scope_prefix: String,
    /// Scopes that every token has.
    pub scopes: Scopes,
    /// The claim that has patterns of models; `None`, or where a token lacks it: all models.
    pub models_claim: Option<String>,
    /// The claim that names the class of quotas; `None`, or where a token lacks it: that of everybody.
    pub quota_claim: Option<String>,
}

/// Where an issuer's public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetPlace {
    /// In a file, which may change.
    File(PathBuf),
    /// At a URL. Certificates that are not the system's are in the file.
    Url {
        /// `https://…`, or `http://` on this machine.
        url: String,
        /// Certificates in PEM form.
        ca_file: Option<PathBuf>,
    },
}

/// How a token is signed: by a private key, whose public one is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenAlgorithm(pub(super) Algorithm);

impl TokenAlgorithm {
    /// Every algorithm that can be chosen. Those with a shared secret are not among them.
    pub const ALL: [(&str, TokenAlgorithm); 9] = [
        ("RS256", TokenAlgorithm(Algorithm::RS256)),
        ("RS384", TokenAlgorithm(Algorithm::RS384)),
        ("RS512", TokenAlgorithm(Algorithm::RS512)),
        ("PS256", TokenAlgorithm(Algorithm::PS256)),
        ("PS384", TokenAlgorithm(Algorithm::PS384)),
        ("PS512", TokenAlgorithm(Algorithm::PS512)),
        ("ES256", TokenAlgorithm(Algorithm::ES256)),
        ("ES384", TokenAlgorithm(Algorithm::ES384)),
        ("EdDSA", TokenAlgorithm(Algorithm::EdDSA)),
    ];

    /// The algorithm of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}
