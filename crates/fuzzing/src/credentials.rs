use std::sync::OnceLock;

use adulis_security::{AuthOptions, Authenticator, ConfiguredKey, KeyDigest};
use adulis_telemetry::AuthMetrics;
use adulis_types::{
    AccessControl, Header, Identification, Identity, IdentityKind, Presented, RequestHeaders, Scope, Scopes,
    Wire,
};

/// A key that comes as keys do.
const KEY: &str = "fuzz-plain-key";
/// One that comes in a header of its own.
const OWN_KEY: &str = "fuzz-header-key";
const OWN_HEADER: &str = "admin-key";

/// Headers of a request that says who sends it: the first byte chooses REST or gRPC, each line behind it is `name: value`.
/// Nobody is somebody without showing that one's key, and what is there and wrong is never taken for nothing.
#[must_use]
pub fn credentials(input: &[u8]) -> bool {
    let Some((wire, lines)) = input.split_first() else {
        return false;
    };
    let (wire, own_header) = match wire % 2 {
        0 => (Wire::Rest, OWN_HEADER.to_owned()),
        _ => (Wire::Grpc, format!("triton-grpc-protocol-{OWN_HEADER}")),
    };
    let headers = Headers(lines.split(|byte| *byte == b'\n').filter_map(header).collect());
    let presented = Presented { wire, headers: &headers, certificate: None };
    let Identification::Known(known) = authenticator().identify(&presented) else {
        unreachable!("without a store nobody is asked");
    };
    let shown = |names: &[&str]| {
        headers
            .0
            .iter()
            .filter(|(name, _)| names.contains(&&**name))
            .map(|(_, value)| *value)
            .collect()
    };
    let (usual, own): (Vec<&[u8]>, Vec<&[u8]>) =
        (shown(&["authorization", "x-api-key"]), shown(&[&own_header]));
    match known {
        Ok(identity) if identity.name == "plain" => assert!(usual.iter().any(|value| ends_with(value, KEY))),
        Ok(identity) if identity.name == "own" => {
            assert!(usual.is_empty() && own == [OWN_KEY.as_bytes()], "{}", input.escape_ascii());
        }
        Ok(identity) => {
            assert_eq!(identity.kind, IdentityKind::Anonymous);
            assert!(usual.is_empty() && own.is_empty(), "taken for none: {}", input.escape_ascii());
        }
        Err(fault) => {
            let told = fault.client_message();
            assert!(!told.contains(KEY) && !told.contains(OWN_KEY), "{told}");
            return false;
        }
    }
    true
}

/// A header's name in lower case, and its value, as servers give them.
fn header(line: &[u8]) -> Option<(String, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?;
    Some((name.to_ascii_lowercase(), line[colon + 1..].trim_ascii()))
}

fn ends_with(value: &[u8], key: &str) -> bool {
    value.trim_ascii().ends_with(key.as_bytes())
}

struct Headers<'a>(Vec<(String, &'a [u8])>);

impl RequestHeaders for Headers<'_> {
    fn header(&self, name: &str) -> Header<'_> {
        Header::of(self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| *value))
    }
}

fn authenticator() -> &'static Authenticator {
    static MADE: OnceLock<Authenticator> = OnceLock::new();
    MADE.get_or_init(|| {
        let key = |name: &str, key: &str, header: Option<&str>| ConfiguredKey {
            digest: KeyDigest::of(key.as_bytes()),
            header: header.map(str::to_owned),
            identity: Identity::new(name, IdentityKind::ConfiguredKey, Scopes::NONE.with(Scope::Infer)),
        };
        let keys = vec![key("plain", KEY, None), key("own", OWN_KEY, Some(OWN_HEADER))];
        let options = AuthOptions { keys, ..AuthOptions::default() };
        Authenticator::new(options, None, AuthMetrics::default()).expect("options without tokens are sound")
    })
}
