use std::fmt;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::sql::clean;
use crate::time::{from_epoch_us, now_us, since_epoch_us};

/// What every key begins with, so that people and scanners of repositories know one when they see it.
pub(super) const PREFIX: &str = "adulis_";
/// Random bytes of a key.
const SECRET_BYTES: usize = 32;
/// Random bytes of the name that a key has in lists and logs.
const ID_BYTES: usize = 9;
/// Characters of a key's own that are shown in lists: a tenth of it.
const HINT: usize = 4;

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What it is called in lists, logs and usage.
    pub id: String,
    /// What it was called by whoever made it.
    pub name: String,
    /// How it begins, so that whoever finds one in a file knows which it is.
    pub hint: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// Patterns of the models that it may be used with.
    pub models: Vec<String>,
    /// Its share where keys compete for the same model.
    pub weight: u32,
    /// The class of quotas that it falls under; empty for that of everybody.
    pub quota: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it ends, if it does.
    pub expires_at: Option<SystemTime>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<SystemTime>,
}

/// The text that a client sends. It cannot be had again.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What it is called, for people.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// Patterns of the models that it may be used with.
    pub models: Vec<String>,
    /// When it ends; `None` for never.
    pub expires_at: Option<SystemTime>,
    /// Its share where keys compete for the same model.
    pub weight: u32,
    /// The class of quotas that it falls under; empty for that of everybody.
    pub quota: String,
}

impl Default for NewKey {
    /// One that may do nothing, with every model.
    fn default() -> Self {
        Self {
            name: String::new(),
            scopes: Vec::new(),
            models: vec!["*".to_owned()],
            expires_at: None,
            weight: 1,
            quota: String::new(),
        }
    }
}

impl KeySecret {
    /// The text itself, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(********)")
    }
}

impl ApiKey {
    /// Whether it may be used at this moment.
    #[must_use]
    pub fn is_valid(&self, now: SystemTime) -> bool {
        !self.is_revoked(now) && self.expires_at.is_none_or(|expires| now < expires)
    }

    /// Whether it was taken back.
    #[must_use]
    pub fn is_revoked(&self, now: SystemTime) -> bool {
        self.revoked_at.is_some_and(|revoked| revoked <= now)
    }

    /// What it may do, for people.
    pub(super) fn summary(&self) -> String {
        let expires = self.expires_at.map_or_else(
            || "never".to_owned(),
            |at| format!("at {} (Unix time)", since_epoch_us(at) / 1_000_000),
        );
        let quota = if self.quota.is_empty() { "default" } else { &self.quota };
        format!(
            "scopes {}; models {}; expires {expires}; weight {}; quota {quota}",
            self.scopes.join(","),
            self.models.join(","),
            self.weight,
        )
    }
}

impl NewKey {
    /// One that may do what `key` may, and ends when it would.
    pub(super) fn like(key: &ApiKey) -> Self {
        Self {
            name: key.name.clone(),
            scopes: key.scopes.clone(),
            models: key.models.clone(),
            expires_at: key.expires_at,
            weight: key.weight,
            quota: key.quota.clone(),
        }
    }

    /// The key, and its secret, drawn at random.
    pub(super) fn draw(&self) -> (ApiKey, KeySecret) {
        let secret = format!("{PREFIX}{}", random::<SECRET_BYTES>());
        let cleaned = |texts: &[String]| texts.iter().map(|text| clean(text)).collect();
        let key = ApiKey {
            id: format!("key_{}", random::<ID_BYTES>()),
            name: clean(&self.name),
            hint: secret.chars().take(PREFIX.len() + HINT).collect(),
            scopes: cleaned(&self.scopes),
            models: cleaned(&self.models),
            weight: self.weight.max(1),
            quota: clean(&self.quota),
            // As the database will tell it.
            created_at: from_epoch_us(now_us()),
            expires_at: self.expires_at.map(|at| from_epoch_us(since_epoch_us(at))),
            revoked_at: None,
        };
        (key, KeySecret(secret))
    }
}

/// Whether a text has the form of a key: what has not cannot be one, and is not looked up.
pub(super) fn is_candidate(text: &str) -> bool {
    let mut bytes = [0; SECRET_BYTES];
    let encoded = text.strip_prefix(PREFIX);
    // A text of any other length leaves too few bytes, or has no room for them.
    encoded.is_some_and(|encoded| {
        URL_SAFE_NO_PAD
            .decode_slice(encoded, &mut bytes)
            .is_ok_and(|length| length == SECRET_BYTES)
    })
}

pub(super) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// So many random bytes as text.
fn random<const N: usize>() -> String {
    let mut bytes = [0; N];
    // Seeded by the operating system, and made for secrets.
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_form_of_a_key_is_looked_up() {
        for _ in 0..100 {
            let (_, secret) = NewKey::default().draw();
            let secret = secret.reveal();
            assert!(is_candidate(secret), "{secret}");
            let (most, text) = (&secret[..secret.len() - 1], &secret[PREFIX.len()..]);
            for wrong in [
                most,
                text,
                &format!("{secret}A"),
                &format!("{most}+"),
                &format!("{most}="),
                &format!(" {secret}"),
            ] {
                assert!(!is_candidate(wrong), "{wrong}");
            }
        }
        for wrong in ["", PREFIX, "adulis_x", &format!("{PREFIX}{}", "x".repeat(1000))] {
            assert!(!is_candidate(wrong), "{wrong}");
        }
    }
}
