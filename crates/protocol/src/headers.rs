//! Headers that become parameters of a request.

use adulis_types::{Name, ParameterValue, Parameters};
use regex::{Regex, RegexBuilder};

use crate::MAX_PARAMETERS;

/// Longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;
/// Most memory that a pattern may compile to.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// Longest name of a header that is looked at, and longest value that is taken.
const MAX_NAME_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 8 * 1024;

/// Parameters that belong to the protocol: no header sets them.
const RESERVED: [&str; 9] = [
    "sequence_id",
    "sequence_start",
    "sequence_end",
    "priority",
    "timeout",
    "cache_control",
    "headers",
    "binary_data_output",
    "non_finite",
];
const RESERVED_PREFIX: &str = "triton_";

/// Headers that hold credentials: what a model does with parameters, and who sees them, is not known here.
const CREDENTIALS: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "cookie",
    "set-cookie",
];
/// What comes before the names of metadata that hold keys, as Triton has it.
const CREDENTIALS_PREFIX: &str = "triton-grpc-protocol-";

/// Which headers, or gRPC metadata, become parameters of their request.
///
/// A header is taken where the pattern matches any part of its name, whatever the case, unless it begins with `(?-i)`. Names are
/// lower-case, as HTTP/2 has them. A header that stands several times is one parameter, its values joined by `, `. It takes the
/// place of a parameter of that name in the body: what a proxy sets, a client cannot forge.
///
/// Credentials are never taken, whatever the pattern says: `authorization`, `proxy-authorization`, `x-api-key`, cookies, metadata
/// of Triton's restricted protocols, and what [`HeaderPattern::without`] adds to them.
///
/// Cost: a search in linear time per header of the request, nothing where no pattern is set.
///
/// Source: Triton, "Parameters Extension", "Forwarding HTTP/GRPC Headers as Parameters".
#[derive(Debug, Clone)]
pub struct HeaderPattern {
    regex: Regex,
    withheld: Vec<String>,
}

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct HeaderPatternError {
    reason: String,
}

impl HeaderPattern {
    /// Compiles a regular expression.
    ///
    /// # Errors
    /// [`HeaderPatternError`] for what is none, and for one that is too long or too large.
    pub fn parse(pattern: &str) -> Result<Self, HeaderPatternError> {
        if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
            let reason = format!("expected 1 to {MAX_PATTERN_BYTES} bytes, got {}", pattern.len());
            return Err(HeaderPatternError { reason });
        }
        let mut builder = RegexBuilder::new(pattern);
        builder
            .case_insensitive(true)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES);
        match builder.build() {
            Ok(regex) => Ok(Self { regex, withheld: Vec::new() }),
            // The library draws a picture over several lines; the last one says it.
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or(&text);
                Err(HeaderPatternError { reason: last.trim_start_matches("error: ").to_owned() })
            }
        }
    }

    /// The same pattern, by which these headers are never taken: they hold credentials.
    #[must_use]
    pub fn without(self, headers: impl IntoIterator<Item = String>) -> Self {
        Self { withheld: headers.into_iter().collect(), ..self }
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// The parameters that some headers make. Values that are not UTF-8, and names and values that are overlong, are left out.
    pub fn parameters<'a>(&self, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Parameters {
        let mut parameters = Parameters::default();
        let mut count = 0;
        for (name, value) in headers {
            let Ok(text) = std::str::from_utf8(value) else {
                continue;
            };
            if name.len() > MAX_NAME_BYTES || is_reserved(name) || self.is_withheld(name) {
                continue;
            }
            if !self.regex.is_match(name) {
                continue;
            }
            let text = match parameters.get(name) {
                Some(ParameterValue::String(earlier)) => Name::from(format!("{earlier}, {text}")),
                _ => {
                    count += 1;
                    text.into()
                }
            };
            if count > MAX_PARAMETERS {
                break;
            }
            if text.len() <= MAX_VALUE_BYTES {
                parameters.set(name, ParameterValue::String(text));
            }
        }
        parameters
    }

    fn is_withheld(&self, name: &str) -> bool {
        let mut withheld = CREDENTIALS.into_iter().chain(self.withheld.iter().map(String::as_str));
        begins_with(name, CREDENTIALS_PREFIX) || withheld.any(|withheld| name.eq_ignore_ascii_case(withheld))
    }
}

impl PartialEq for HeaderPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str() && self.withheld == other.withheld
    }
}

impl Eq for HeaderPattern {}

fn is_reserved(name: &str) -> bool {
    let mut reserved = RESERVED.into_iter();
    begins_with(name, RESERVED_PREFIX) || reserved.any(|reserved| name.eq_ignore_ascii_case(reserved))
}

fn begins_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pattern: &str, headers: &[(&str, &[u8])]) -> Vec<(String, String)> {
        let pattern = HeaderPattern::parse(pattern).unwrap();
        let parameters = pattern.parameters(headers.iter().copied());
        parameters
            .iter()
            .map(|(name, value)| match value {
                ParameterValue::String(text) => (name.to_owned(), text.to_string()),
                other => (name.to_owned(), format!("{other:?}")),
            })
            .collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn names_that_match_become_parameters() {
        let headers: [(&str, &[u8]); 5] = [
            ("my_prefix_a", b"1"),
            ("host", b"h"),
            ("my_prefix_b", b"\xff"),
            ("x-my_prefix_c", b""),
            ("my_prefix_a", b"2"),
        ];
        let found = taken("MY_PREFIX_.*", &headers);
        assert_eq!(found, [pair("my_prefix_a", "1, 2"), pair("x-my_prefix_c", "")]);
        assert_eq!(taken("^my_prefix_c", &headers), []);
        assert_eq!(taken("(?-i)MY_PREFIX_.*", &headers), []);
        assert_eq!(taken("^host$|_b$", &headers), [pair("host", "h")]);
    }

    #[test]
    fn what_the_protocol_means_is_never_set() {
        for name in [
            "sequence_id",
            "Sequence_End",
            "priority",
            "timeout",
            "cache_control",
            "headers",
            "binary_data_output",
            "non_finite",
            "triton_x",
            "TRITON_final",
        ] {
            assert_eq!(taken(".*", &[(name, b"1")]), [], "{name}");
        }
        assert_eq!(taken(".*", &[("tritone", b"1")]), [pair("tritone", "1")]);
    }

    #[test]
    fn credentials_are_never_taken() {
        let pattern = HeaderPattern::parse(".*").unwrap().without(["admin-key".to_owned()]);
        for name in [
            "authorization",
            "Authorization",
            "proxy-authorization",
            "x-api-key",
            "cookie",
            "triton-grpc-protocol-admin-key",
            "Triton-Grpc-Protocol-x",
            "Admin-Key",
        ] {
            let headers: [(&str, &[u8]); 2] = [(name, b"secret"), ("x-other", b"1")];
            let found = pattern.parameters(headers.into_iter());
            let names: Vec<&str> = found.iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["x-other"], "{name}");
        }
        assert_eq!(taken("admin", &[("admin-key", b"1")]), [pair("admin-key", "1")], "where it is none");
    }

    #[test]
    fn what_comes_is_bounded() {
        let names: Vec<String> = (0..200).map(|index| format!("h{index}")).collect();
        let headers: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"v"[..])).collect();
        assert_eq!(taken("^h", &headers).len(), MAX_PARAMETERS);
        let (long, value) = ("n".repeat(257), vec![b'v'; MAX_VALUE_BYTES + 1]);
        assert_eq!(taken("n", &[(&long, b"1"), ("n", &value)]), []);
    }

    #[test]
    fn patterns_are_bounded_and_say_what_is_wrong() {
        let refused = |pattern: &str| HeaderPattern::parse(pattern).unwrap_err().to_string();
        assert_eq!(refused("("), "unclosed group");
        assert_eq!(refused(""), "expected 1 to 1024 bytes, got 0");
        assert_eq!(refused(&"a".repeat(1025)), "expected 1 to 1024 bytes, got 1025");
        assert!(refused("(a{1000}){1000}").contains("size limit"), "{}", refused("(a{1000}){1000}"));
        // What no automaton can search for in linear time.
        assert!(refused("(a)\\1").contains("backreferences"));
    }
}
