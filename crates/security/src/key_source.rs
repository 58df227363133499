use std::error::Error;
use std::time::SystemTime;

use adulis_types::BoxFuture;

use crate::KeyDigest;

/// Why a source cannot tell.
pub type KeySourceError = Box<dyn Error + Send + Sync>;

/// Where API keys are, such as a database.
pub trait KeySource: Send + Sync + 'static {
    /// Whether a text can be a key at all: what cannot costs nobody a look-up.
    fn is_candidate(&self, key: &str) -> bool;

    /// The key with this digest, whether it is still valid or not; `None` where there is none.
    fn find(&self, digest: KeyDigest) -> BoxFuture<'static, Result<Option<SourceKey>, KeySourceError>>;
}

/// An API key, as its source has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceKey {
    /// What it is called in logs and usage.
    pub id: String,
    /// Names of the scopes that it has. Names that are not known, as a later version may have given, permit nothing.
    pub scopes: Vec<String>,
    /// Patterns of the models that it may name.
    pub models: Vec<String>,
    /// When it ends, if it does.
    pub expires_at: Option<SystemTime>,
    /// Whether it was taken back.
    pub is_revoked: bool,
    /// Its share where identities compete.
    pub weight: u32,
    /// The class of quotas that it falls under.
    pub quota: String,
}
