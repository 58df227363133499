use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use adulis_types::{Identity, Wire};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What stands before the metadata of a call whose name is that of a key: Triton's restricted protocols have it so.
pub(crate) const GRPC_PREFIX: &str = "triton-grpc-protocol-";

/// The SHA-256 of a key.
///
/// Two of them take the same time to compare, wherever they differ. That one is looked up in a map, or in a database's index,
/// needs no constant time: what could be measured depends on digests alone, of which nobody can choose more than the first few
/// bits, and how a digest begins tells nothing of a key that is random.
#[derive(Clone, Copy, Eq)]
pub struct KeyDigest(pub [u8; 32]);

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Why a text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected sha256: and 64 hexadecimal digits, as `printf %s KEY | sha256sum` prints them")]
pub struct DigestError;

impl KeyDigest {
    /// The digest of a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl FromStr for KeyDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = text.trim().strip_prefix("sha256:").ok_or(DigestError)?.as_bytes();
        let mut digest = [0; 32];
        if digits.len() != 2 * digest.len() {
            return Err(DigestError);
        }
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte =
                value(pair[0]).zip(value(pair[1])).map(|(high, low)| high * 16 + low).ok_or(DigestError)?;
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(********)")
    }
}

/// A key that the configuration names, for servers without a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredKey {
    /// Its digest.
    pub digest: KeyDigest,
    /// The header that holds it; over gRPC, metadata of this name behind `triton-grpc-protocol-`. `None`: it comes as other keys
    /// do.
    pub header: Option<String>,
    /// Whose it is.
    pub identity: Identity,
}

/// Configured keys, by what is looked for.
#[derive(Debug, Default)]
pub(crate) struct ConfiguredKeys {
    /// Those that come as other keys do.
    plain: HashMap<KeyDigest, Arc<Identity>>,
    named: Vec<NamedHeader>,
}

/// A header that holds keys.
#[derive(Debug)]
pub(crate) struct NamedHeader {
    rest: String,
    grpc: String,
    keys: HashMap<KeyDigest, Arc<Identity>>,
}

impl ConfiguredKeys {
    pub(crate) fn new(keys: Vec<ConfiguredKey>) -> Self {
        let mut configured = Self::default();
        for ConfiguredKey { digest, header, identity } in keys {
            let identity = Arc::new(identity);
            let Some(header) = header.map(|header| header.to_ascii_lowercase()) else {
                configured.plain.insert(digest, identity);
                continue;
            };
            match configured.named.iter_mut().find(|named| named.rest == header) {
                Some(named) => drop(named.keys.insert(digest, identity)),
                None => configured.named.push(NamedHeader {
                    grpc: format!("{GRPC_PREFIX}{header}"),
                    rest: header,
                    keys: [(digest, identity)].into(),
                }),
            }
        }
        configured
    }

    pub(crate) fn find(&self, digest: &KeyDigest) -> Option<&Arc<Identity>> {
        self.plain.get(digest)
    }

    pub(crate) fn headers(&self) -> &[NamedHeader] {
        &self.named
    }
}

impl NamedHeader {
    /// What it is called.
    pub(crate) fn name(&self, wire: Wire) -> &str {
        match wire {
            Wire::Rest => &self.rest,
            Wire::Grpc => &self.grpc,
        }
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<&Arc<Identity>> {
        self.keys.get(&KeyDigest::of(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_and_read() {
        let digest = KeyDigest::of(b"abc");
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((digest.to_string().as_str(), text.parse()), (text, Ok(digest)));
        assert_eq!(text.to_uppercase().replace("SHA256", "sha256").parse(), Ok(digest));
        for bad in [
            "",
            "sha256:",
            &text[7..],
            &text[..70],
            &format!("{text}0"),
            "sha256:zz7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha256:+a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "md5:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            assert_eq!(bad.parse::<KeyDigest>(), Err(DigestError), "{bad}");
        }
        assert!(!format!("{digest:?}").contains("ba78"));
    }
}
