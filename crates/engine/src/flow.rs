//! Whose requests share a model's queue, and whose sequences are whose.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use adulis_batcher::Flow;
use adulis_types::{Identity, IdentityKind};

/// Seeded anew in each process, so that nobody can look for a name that counts as another's.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The flow of an identity's requests; `None` for those who are not known, who share one.
pub(crate) fn of(identity: &Identity) -> Option<Flow> {
    match key(identity) {
        0 => None,
        key => Some(Flow { key, weight: identity.weight.get() }),
    }
}

/// What tells an identity apart from others, by its kind and name; 0 for those who are not known.
pub(crate) fn key(identity: &Identity) -> u64 {
    if identity.kind == IdentityKind::Anonymous {
        return 0;
    }
    HASHER.hash_one((identity.kind, identity.name.as_str())).max(1)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use adulis_types::Scopes;

    use super::*;

    #[test]
    fn identities_are_told_apart_by_name_and_kind() {
        let identity = |name: &str, kind| Identity::new(name.to_owned(), kind, Scopes::default());
        let (one, other) = (identity("a", IdentityKind::ApiKey), identity("b", IdentityKind::ApiKey));
        assert_eq!(of(&one), of(&one));
        assert_ne!(of(&one).map(|flow| flow.key), of(&other).map(|flow| flow.key));
        assert_ne!(of(&one), of(&identity("a", IdentityKind::Token)));
        assert_eq!(of(&identity("a", IdentityKind::Anonymous)), None);
        let heavy = Identity { weight: NonZeroU32::new(3).unwrap(), ..one };
        assert_eq!(of(&heavy).map(|flow| flow.weight), Some(3));
    }
}
