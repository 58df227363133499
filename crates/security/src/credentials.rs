use adulis_types::{Header, Presented, RequestHeaders};

use crate::AuthError;
use crate::configured_key::NamedHeader;

const AUTHORIZATION: &str = "authorization";
const API_KEY: &str = "x-api-key";
const BEARER: &[u8] = b"bearer";
/// The longest credentials that are looked at. Tokens are longer than keys.
const MAX_BYTES: usize = 16 * 1024;

/// What the headers of a request say about who sends it. Of several kinds the first counts, in this order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Credentials<'a> {
    /// `authorization: Bearer …`: a key or a token.
    Bearer(&'a str),
    /// `x-api-key: …`: a key.
    Key(&'a str),
    /// A header of a configured key's own.
    Named(&'a NamedHeader, &'a [u8]),
    /// None of these.
    None,
}

impl<'a> Credentials<'a> {
    /// # Errors
    /// [`AuthError::Repeated`] and [`AuthError::Malformed`].
    pub(crate) fn of(presented: &Presented<'a>, named: &'a [NamedHeader]) -> Result<Self, AuthError> {
        if let Some(value) = single(presented.headers, AUTHORIZATION)? {
            return Ok(Self::Bearer(bearer(value).ok_or_else(|| malformed(AUTHORIZATION))?));
        }
        if let Some(value) = single(presented.headers, API_KEY)? {
            return Ok(Self::Key(text(value).ok_or_else(|| malformed(API_KEY))?));
        }
        for header in named {
            if let Some(value) = single(presented.headers, header.name(presented.wire))? {
                return Ok(Self::Named(header, value));
            }
        }
        Ok(Self::None)
    }
}

fn single<'a>(headers: &'a dyn RequestHeaders, name: &str) -> Result<Option<&'a [u8]>, AuthError> {
    match headers.header(name) {
        Header::Absent => Ok(None),
        Header::One(value) if value.len() <= MAX_BYTES => Ok(Some(value)),
        Header::One(_) => Err(malformed(name)),
        Header::Several => Err(AuthError::Repeated { header: name.to_owned() }),
    }
}

/// The token of `Bearer TOKEN`; the scheme in any case.
///
/// Source: RFC 9110, section 11.4; RFC 6750, section 2.1.
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let token = rest.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(BEARER))?;
    text(token)
}

fn text(value: &[u8]) -> Option<&str> {
    let value = value.trim_ascii();
    let fit = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(value).ok().filter(|_| fit)
}

fn malformed(header: &str) -> AuthError {
    AuthError::Malformed { header: header.to_owned() }
}

#[cfg(test)]
mod tests {
    use adulis_testing::TestHeaders;
    use adulis_types::{Identity, IdentityKind, Scopes, Wire};

    use super::*;
    use crate::configured_key::ConfiguredKeys;
    use crate::{ConfiguredKey, KeyDigest};

    fn told(wire: Wire, headers: &[(&str, &str)]) -> String {
        let key = ConfiguredKey {
            digest: KeyDigest::of(b"x"),
            header: Some("Admin-Key".to_owned()),
            identity: Identity::new("ops", IdentityKind::ConfiguredKey, Scopes::NONE),
        };
        let keys = ConfiguredKeys::new(vec![key]);
        let headers = TestHeaders(headers);
        let presented = Presented { wire, headers: &headers, certificate: None };
        match Credentials::of(&presented, keys.headers()) {
            Ok(Credentials::Bearer(token)) => format!("bearer {token}"),
            Ok(Credentials::Key(key)) => format!("key {key}"),
            Ok(Credentials::Named(header, value)) => {
                format!("{} {}", header.name(wire), value.escape_ascii())
            }
            Ok(Credentials::None) => "none".to_owned(),
            Err(error) => error.as_str().to_owned(),
        }
    }

    #[test]
    fn the_first_kind_that_is_there_counts() {
        let all = [
            ("admin-key", "c"),
            ("x-api-key", "b"),
            ("authorization", "Bearer a"),
        ];
        assert_eq!(told(Wire::Rest, &all), "bearer a");
        assert_eq!(told(Wire::Rest, &all[..2]), "key b");
        assert_eq!(told(Wire::Rest, &all[..1]), "admin-key c");
        assert_eq!(told(Wire::Rest, &[]), "none");
        assert_eq!(told(Wire::Grpc, &all[..1]), "none");
        assert_eq!(
            told(Wire::Grpc, &[("triton-grpc-protocol-admin-key", "c")]),
            "triton-grpc-protocol-admin-key c"
        );
        assert_eq!(told(Wire::Rest, &[("authorization", "bEARER  a ")]), "bearer a");
    }

    #[test]
    fn what_is_wrong_is_never_taken_for_none() {
        let long = format!("Bearer {}", "x".repeat(MAX_BYTES));
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearera",
            "Basic YTpi",
            "a",
            "Bearer a b",
            "Bearer \u{e9}",
            &long,
        ] {
            assert_eq!(told(Wire::Rest, &[("authorization", value)]), "malformed", "{value:.40}");
        }
        for value in ["", " ", "a b", "a\u{7f}"] {
            assert_eq!(told(Wire::Grpc, &[("x-api-key", value)]), "malformed", "{value}");
        }
        for name in ["authorization", "x-api-key", "admin-key"] {
            assert_eq!(told(Wire::Rest, &[(name, "Bearer a"), (name, "Bearer a")]), "malformed", "{name}");
        }
    }
}
