use std::fmt;
use std::num::NonZeroU32;
use std::time::SystemTime;

use crate::{ModelPatterns, Name, Scope, Scopes};

/// Who sends requests, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What it is called in logs and usage: a key's id, a token's subject, a certificate's name. Never a secret.
    pub name: Name,
    /// How it is known.
    pub kind: IdentityKind,
    /// What it may do.
    pub scopes: Scopes,
    /// With which models.
    pub models: ModelPatterns,
    /// From when on it is nobody.
    pub expires_at: Option<SystemTime>,
    /// Its share where identities compete for the same model, in proportion to the shares of others.
    pub weight: NonZeroU32,
    /// The class of quotas that it falls under; empty for that of everybody.
    pub quota: Name,
    /// By what whoever found it finds it again; `None` for one that stays as it is.
    pub proof: Option<Proof>,
}

/// A digest of what an identity has shown. It is not shown itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof(pub [u8; 32]);

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(********)")
    }
}

/// How an identity is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// It is not: it sent no credentials.
    Anonymous,
    /// By an API key of the store.
    ApiKey,
    /// By a key of the configuration.
    ConfiguredKey,
    /// By a signed token.
    Token,
    /// By the certificate of its connection.
    Certificate,
}

impl IdentityKind {
    /// Every kind.
    pub const ALL: [IdentityKind; 5] = [
        IdentityKind::Anonymous,
        IdentityKind::ApiKey,
        IdentityKind::ConfiguredKey,
        IdentityKind::Token,
        IdentityKind::Certificate,
    ];

    /// Its name, as metrics and logs have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            IdentityKind::Anonymous => "anonymous",
            IdentityKind::ApiKey => "api_key",
            IdentityKind::ConfiguredKey => "configured_key",
            IdentityKind::Token => "token",
            IdentityKind::Certificate => "certificate",
        }
    }
}

impl Identity {
    /// One that may do what `scopes` say, with every model.
    #[must_use]
    pub fn new(name: impl Into<Name>, kind: IdentityKind, scopes: Scopes) -> Self {
        Self {
            name: name.into(),
            kind,
            scopes,
            models: ModelPatterns::ALL,
            expires_at: None,
            weight: NonZeroU32::MIN,
            quota: Name::default(),
            proof: None,
        }
    }

    /// Whether it may do what needs `scope`, with `model` where one is meant.
    #[must_use]
    pub fn may(&self, scope: Scope, model: Option<&str>) -> bool {
        self.scopes.permit(scope) && model.is_none_or(|model| self.models.matches(model))
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|expires| expires <= now)
    }
}
