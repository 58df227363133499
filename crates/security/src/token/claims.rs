use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adulis_types::{Identity, IdentityKind, ModelPatterns, Name, Proof, Scope, Scopes};
use serde_json::{Map, Value};

use super::TokenOptions;
use crate::KeyDigest;

/// Most scopes or patterns that a claim is read for.
const MAX_ITEMS: usize = 256;
/// The longest name.
const MAX_NAME_BYTES: usize = 256;

/// Whom a verified token is for, and what it may do. `None` where it does not say whom.
pub(super) fn identity(
    claims: &Map<String, Value>,
    options: &TokenOptions,
    digest: KeyDigest,
) -> Option<Identity> {
    let name = claims.get(&options.name_claim)?.as_str()?;
    // It goes into logs and the database.
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(char::is_control) {
        return None;
    }
    let own = texts(claims.get(&options.scopes_claim));
    let own = own.iter().filter_map(|name| Scope::named(name.strip_prefix(&options.scope_prefix)?));
    let scopes: Scopes = options.scopes.iter().chain(own).collect();
    let models = options.models_claim.as_ref().and_then(|claim| claims.get(claim));
    let models = models.map_or(ModelPatterns::ALL, |claim| ModelPatterns::new(texts(Some(claim))));
    let quota = options.quota_claim.as_ref().and_then(|claim| claims.get(claim)?.as_str());
    let quota = quota.filter(|class| class.len() <= MAX_NAME_BYTES && !class.contains(char::is_control));
    let expires = claims.get("exp").and_then(seconds)?.checked_add(options.leeway)?;
    Some(Identity {
        models,
        expires_at: Some(UNIX_EPOCH.checked_add(expires).unwrap_or_else(SystemTime::now)),
        quota: quota.unwrap_or_default().into(),
        proof: Some(Proof(digest.0)),
        ..Identity::new(Name::from(name), IdentityKind::Token, scopes)
    })
}

fn seconds(value: &Value) -> Option<Duration> {
    let whole = value.as_u64().map(Duration::from_secs);
    whole.or_else(|| Duration::try_from_secs_f64(value.as_f64()?).ok())
}

/// The texts of a list, or of one text with spaces between them.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => text.split_ascii_whitespace().take(MAX_ITEMS).collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).take(MAX_ITEMS).collect(),
        _ => Vec::new(),
    }
}
