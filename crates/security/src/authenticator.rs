use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use adulis_telemetry::{AuthMetrics, causes};
use adulis_types::{
    AccessControl, Fault, Identification, Identity, IdentityKind, ModelPatterns, Operation, Presented, Proof,
    Scope, Scopes,
};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::configured_key::ConfiguredKeys;
use crate::credentials::Credentials;
use crate::identity_cache::{Ages, Found, IdentityCache, Outcome};
use crate::metrics::Counters;
use crate::token::{Tokens, Verified};
use crate::{
    AuthError, AuthSetupError, CertificateRule, ConfiguredKey, KeyDigest, KeySource, SourceKey, TokenOptions,
};

/// How long a request waits for its turn to be looked up.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);

/// How it is found out who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthOptions {
    /// What is permitted to who sends no credentials.
    pub anonymous: Scopes,
    /// Keys of the configuration.
    pub keys: Vec<ConfiguredKey>,
    /// Tokens; `None` where none are taken.
    pub tokens: Option<TokenOptions>,
    /// Certificates of clients; the first rule that fits counts. Where there is none, certificates are left aside.
    pub certificates: Vec<CertificateRule>,
    /// For how long what was found out of a key is held for true. One that was revoked is refused within twice that time.
    pub ttl: Duration,
    /// For how long a key that was valid still is, where its source does not answer.
    pub outage: Duration,
    /// How many identities are remembered.
    pub capacity: usize,
    /// How many look-ups are under way at a time: so many of keys that are known, and so many of those that are not.
    pub max_lookups: usize,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            anonymous: [Scope::Health, Scope::Metrics].into_iter().collect(),
            keys: Vec::new(),
            tokens: None,
            certificates: Vec::new(),
            ttl: Duration::from_secs(5),
            outage: Duration::from_secs(60),
            capacity: 10_000,
            max_lookups: 16,
        }
    }
}

/// Finds out who sends requests. Clones share what they know.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    anonymous: Arc<Identity>,
    keys: ConfiguredKeys,
    source: Option<Arc<dyn KeySource>>,
    tokens: Option<Tokens>,
    certificates: Vec<CertificateRule>,
    cache: IdentityCache,
    /// Turns to ask the source: of what is known, and of what is not. Whoever makes keys up holds up nobody who has one.
    relooks: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    counters: Counters,
}

impl Authenticator {
    /// Of what the options say, and keys of `source` if there is one.
    ///
    /// # Errors
    /// [`AuthSetupError`]. That keys at a URL cannot be fetched is no error.
    pub fn new(
        options: AuthOptions,
        source: Option<Arc<dyn KeySource>>,
        metrics: AuthMetrics,
    ) -> Result<Self, AuthSetupError> {
        let AuthOptions { anonymous, keys, tokens, certificates, ttl, outage, capacity, max_lookups } =
            options;
        let tokens = tokens.map(Tokens::new).transpose().map_err(AuthSetupError::KeySet)?;
        Ok(Self(Arc::new(Inner {
            anonymous: Arc::new(Identity::new("anonymous", IdentityKind::Anonymous, anonymous)),
            keys: ConfiguredKeys::new(keys),
            source,
            tokens,
            certificates,
            cache: IdentityCache::new(capacity, Ages { ttl, outage }),
            relooks: Arc::new(Semaphore::new(max_lookups.max(1))),
            lookups: Arc::new(Semaphore::new(max_lookups.max(1))),
            counters: Counters::new(metrics),
        })))
    }

    fn of_key(&self, key: &str) -> Identification {
        let Inner { keys, source, cache, .. } = &*self.0;
        let digest = KeyDigest::of(key.as_bytes());
        if let Some(identity) = keys.find(&digest) {
            return self.0.known(IdentityKind::ConfiguredKey, Ok(Arc::clone(identity)));
        }
        if self.0.tokens.is_some() && Tokens::is_candidate(key) {
            return self.of_token(key, digest);
        }
        let kind = IdentityKind::ApiKey;
        let Some(source) = source.as_ref().filter(|source| source.is_candidate(key)) else {
            return self.0.known(kind, Err(AuthError::Unknown));
        };
        match cache.find(&digest) {
            Found::Fresh(outcome) | Found::Stale(outcome) => self.0.known(kind, outcome),
            Found::Due(outcome) => {
                self.look_again(digest);
                self.0.known(kind, outcome)
            }
            Found::Absent => {
                let (inner, source) = (Arc::clone(&self.0), Arc::clone(source));
                Identification::Asked(Box::pin(async move {
                    let turns = if inner.cache.is_known(&digest) { &inner.relooks } else { &inner.lookups };
                    let outcome = inner.look(source, digest, turns).await;
                    inner.counters.count(kind, &outcome);
                    Ok(outcome?)
                }))
            }
        }
    }

    /// Signatures are verified once in a while, and not with each request.
    fn of_token(&self, token: &str, digest: KeyDigest) -> Identification {
        let (inner, kind) = (&self.0, IdentityKind::Token);
        let Some(tokens) = &inner.tokens else {
            return inner.known(kind, Err(AuthError::Unknown));
        };
        if let Found::Fresh(outcome) = inner.cache.find(&digest) {
            return inner.known(kind, outcome);
        }
        let outcome = match tokens.verify(token, digest) {
            Verified::Known(outcome) => outcome,
            Verified::Due(outcome) => {
                tokens.fetch_aside();
                outcome
            }
            Verified::Absent => {
                let (inner, token) = (Arc::clone(inner), token.to_owned());
                return Identification::Asked(Box::pin(async move {
                    let outcome = inner.verify_anew(&token, digest).await;
                    inner.counters.count(kind, &outcome);
                    Ok(outcome?)
                }));
            }
        };
        inner.cache.put(digest, outcome.clone());
        inner.known(kind, outcome)
    }

    /// Looks in the background, for the requests after this one, at a key that is known.
    fn look_again(&self, digest: KeyDigest) {
        if let (Some(source), Ok(runtime)) = (self.0.source.clone(), Handle::try_current()) {
            let inner = Arc::clone(&self.0);
            runtime.spawn(async move { drop(inner.look(source, digest, &inner.relooks).await) });
        }
    }
}

impl Inner {
    fn known(&self, kind: IdentityKind, outcome: Outcome) -> Identification {
        self.counters.count(kind, &outcome);
        Identification::Known(outcome.map_err(Fault::from))
    }

    /// Asks the source when its turn has come. Many that ask for the same key at once find what the first of them have found out.
    async fn look(
        self: &Arc<Self>,
        source: Arc<dyn KeySource>,
        digest: KeyDigest,
        turns: &Arc<Semaphore>,
    ) -> Outcome {
        let turn = Arc::clone(turns).acquire_owned();
        let turn = tokio::time::timeout(LOOKUP_PATIENCE, turn).await;
        if let Found::Fresh(outcome) = self.cache.find(&digest) {
            return outcome;
        }
        let Ok(Ok(turn)) = turn else {
            return self.in_outage(&digest);
        };
        let inner = Arc::clone(self);
        // A client that goes away gives its turn back no sooner than the source has answered.
        let asking = tokio::spawn(async move {
            let outcome = inner.ask(&*source, digest).await;
            drop(turn);
            outcome
        });
        asking.await.unwrap_or_else(|_| self.in_outage(&digest))
    }

    async fn ask(&self, source: &dyn KeySource, digest: KeyDigest) -> Outcome {
        let begun = Instant::now();
        let found = source.find(digest).await;
        self.counters.looked(begun.elapsed());
        match found {
            Ok(key) => {
                let outcome = judge(key, digest);
                self.cache.put(digest, outcome.clone());
                outcome
            }
            Err(error) => {
                tracing::debug!(error = causes(&*error), "a key cannot be looked up");
                self.in_outage(&digest)
            }
        }
    }

    async fn verify_anew(&self, token: &str, digest: KeyDigest) -> Outcome {
        let Some(tokens) = &self.tokens else {
            return Err(AuthError::Unknown);
        };
        let begun = Instant::now();
        let outcome = tokens.verify_anew(token, digest).await;
        self.counters.looked(begun.elapsed());
        // What is not known now may be in a moment.
        if outcome != Err(AuthError::Unavailable) {
            self.cache.put(digest, outcome.clone());
        }
        outcome
    }

    fn in_outage(&self, digest: &KeyDigest) -> Outcome {
        self.cache.in_outage(digest).ok_or(AuthError::Unavailable)
    }
}

/// Whose a key of the source is, if it is anybody's.
fn judge(key: Option<SourceKey>, digest: KeyDigest) -> Outcome {
    let key = key.ok_or(AuthError::Unknown)?;
    if key.is_revoked {
        return Err(AuthError::Revoked);
    }
    let scopes = key.scopes.iter().filter_map(|name| Scope::named(name)).collect();
    let identity = Identity {
        models: ModelPatterns::new(key.models),
        expires_at: key.expires_at,
        weight: NonZeroU32::new(key.weight).unwrap_or(NonZeroU32::MIN),
        quota: key.quota.into(),
        proof: Some(Proof(digest.0)),
        ..Identity::new(key.id, IdentityKind::ApiKey, scopes)
    };
    if identity.is_expired(SystemTime::now()) {
        return Err(AuthError::Expired);
    }
    Ok(Arc::new(identity))
}

impl AccessControl for Authenticator {
    fn anonymous(&self) -> &Arc<Identity> {
        &self.0.anonymous
    }

    fn identify(&self, presented: &Presented<'_>) -> Identification {
        let inner = &*self.0;
        match Credentials::of(presented, inner.keys.headers()) {
            Ok(Credentials::Bearer(key) | Credentials::Key(key)) => self.of_key(key),
            Ok(Credentials::Named(header, key)) => {
                let identity = header.find(key).cloned().ok_or(AuthError::Unknown);
                inner.known(IdentityKind::ConfiguredKey, identity)
            }
            Ok(Credentials::None) => match presented.certificate {
                Some(certificate) if !inner.certificates.is_empty() => {
                    let identity = CertificateRule::find(&inner.certificates, certificate);
                    inner.known(IdentityKind::Certificate, identity.ok_or(AuthError::Certificate))
                }
                _ => inner.known(IdentityKind::Anonymous, Ok(Arc::clone(&inner.anonymous))),
            },
            Err(error) => inner.known(IdentityKind::Anonymous, Err(error)),
        }
    }

    fn renew(&self, identity: &Arc<Identity>) -> Result<Arc<Identity>, Fault> {
        // A token is what it says until its time is over, which is looked at elsewhere.
        let Some(Proof(digest)) = identity.proof.filter(|_| identity.kind == IdentityKind::ApiKey) else {
            return Ok(Arc::clone(identity));
        };
        let digest = KeyDigest(digest);
        match self.0.cache.find(&digest) {
            Found::Fresh(outcome) | Found::Stale(outcome) => Ok(outcome?),
            Found::Due(outcome) => {
                self.look_again(digest);
                Ok(outcome?)
            }
            // Nobody has asked for so long that it is not remembered: the request after this one is told what is found.
            Found::Absent => {
                self.look_again(digest);
                if self.0.cache.is_over(&digest) {
                    return Err(AuthError::Unavailable.into());
                }
                Ok(Arc::clone(identity))
            }
        }
    }

    fn denied(&self, _: &Identity, operation: Operation) {
        self.0.counters.denied(operation);
    }
}

#[cfg(test)]
mod tests;
