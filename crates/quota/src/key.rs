use std::hash::{Hash, Hasher};

use adulis_types::{Identity, IdentityKind, Name};
use quick_cache::Equivalent;
use sha2::{Digest, Sha256};

/// Whose counts they are: an identity's, of all models or of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    kind: IdentityKind,
    identity: Name,
    model: Option<Name>,
}

/// The same, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyRef<'a> {
    kind: IdentityKind,
    identity: &'a str,
    model: Option<&'a str>,
}

/// Who asks where nobody is asked who they are.
const NOBODY: &str = "anonymous";

/// Bytes of a key's digest: as many as nobody finds a second key for.
const DIGEST_BYTES: usize = 16;

impl<'a> KeyRef<'a> {
    pub(crate) fn new(identity: Option<&'a Identity>, model: Option<&'a str>) -> Self {
        match identity {
            Some(identity) => Self { kind: identity.kind, identity: &identity.name, model },
            None => Self { kind: IdentityKind::Anonymous, identity: NOBODY, model },
        }
    }

    pub(crate) fn owned(self) -> Key {
        let Self { kind, identity, model } = self;
        Key { kind, identity: identity.into(), model: model.map(Name::from) }
    }

    /// What it is called where replicas share counts. Names are as long as whoever gave them liked, and may hold anything. In
    /// braces is what has all that is kept of it lie together in a cluster.
    pub(crate) fn shared(self, prefix: &str) -> String {
        let mut digest = Sha256::new();
        for part in [self.kind.as_str(), self.identity, self.model.unwrap_or_default()] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        digest.update([u8::from(self.model.is_some())]);
        let mut key = format!("{prefix}quota:{{");
        for byte in &digest.finalize()[..DIGEST_BYTES] {
            key.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            key.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        key.push('}');
        key
    }
}

impl Key {
    fn borrowed(&self) -> KeyRef<'_> {
        KeyRef { kind: self.kind, identity: &self.identity, model: self.model.as_deref() }
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind, self.identity, self.model).hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let Self { kind, identity, model } = *self;
        (kind, identity, model) == (key.kind, key.identity.as_str(), key.model.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use adulis_types::Scopes;

    use super::*;

    #[test]
    fn who_is_known_in_another_way_or_asks_for_another_model_is_counted_apart() {
        let identity = |name: &str, kind| Identity::new(name, kind, Scopes::NONE);
        let identities = [
            Some(identity("a", IdentityKind::ApiKey)),
            Some(identity("a", IdentityKind::Token)),
            Some(identity("am", IdentityKind::Token)),
            None,
        ];
        let mut keys = Vec::new();
        for identity in &identities {
            for model in [None, Some(""), Some("m")] {
                keys.push(KeyRef::new(identity.as_ref(), model));
            }
        }
        for (one, key) in keys.iter().enumerate() {
            for (two, other) in keys.iter().enumerate() {
                assert_eq!(key.equivalent(&other.owned()), one == two, "{key:?} {other:?}");
                assert_eq!(key.shared("p:") == other.shared("p:"), one == two, "{key:?} {other:?}");
            }
        }
        let shared = keys[0].shared("p:");
        assert!(
            shared.starts_with("p:quota:{") && shared.len() == 8 + 2 + 32 && shared.is_ascii(),
            "{shared}"
        );
    }
}
