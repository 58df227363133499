use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// The longest key set that is read.
pub(crate) const MAX_KEY_SET_BYTES: usize = 1 << 20;
/// Most keys of a set.
const MAX_KEYS: usize = 256;
/// Keys that are tried on a token that does not say which one it means.
const MAX_TRIES: usize = 8;

/// The public keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct KeySet(Vec<SetKey>);

#[derive(Debug)]
struct SetKey {
    id: Option<String>,
    /// Those that it may be used with.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a set. Keys that are of no use are left out: secrets, keys for encryption, and those of algorithms that are not
    /// among `pinned`.
    ///
    /// # Errors
    /// What is wrong with the text; that there is no key of use in it.
    pub(crate) fn parse(text: &[u8], pinned: &[Algorithm]) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_slice(text).map_err(|error| format!("is no key set: {error}"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("has {} keys: at most {MAX_KEYS} are read", set.keys.len()));
        }
        let keys: Vec<SetKey> = set.keys.iter().filter_map(|jwk| SetKey::of(jwk, pinned)).collect();
        if keys.is_empty() {
            let names: Vec<String> = pinned.iter().map(|algorithm| format!("{algorithm:?}")).collect();
            return Err(format!("has no key for {}", names.join(", ")));
        }
        Ok(Self(keys))
    }

    /// The keys that a token may be signed with: those of the id that it names.
    pub(crate) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        let fits = move |key: &&SetKey| {
            key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id)
        };
        self.0.iter().filter(fits).take(MAX_TRIES).map(|key| &key.key)
    }
}

impl SetKey {
    fn of(jwk: &Jwk, pinned: &[Algorithm]) -> Option<Self> {
        // A secret is no public key, and nobody who can read the set may sign.
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_)) {
            return None;
        }
        if jwk
            .common
            .public_key_use
            .as_ref()
            .is_some_and(|purpose| *purpose != PublicKeyUse::Signature)
        {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let own = jwk.common.key_algorithm.map(|own| Algorithm::try_from(own).ok());
        let fits = |algorithm: &Algorithm| {
            algorithm.family() == key.family() && own.is_none_or(|own| own == Some(*algorithm))
        };
        let algorithms: Vec<Algorithm> = pinned.iter().copied().filter(fits).collect();
        (!algorithms.is_empty()).then(|| Self { id: jwk.common.key_id.clone(), algorithms, key })
    }
}
