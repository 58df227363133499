//! The bodies of the shared memory extension.

use adulis_types::{Name, RegionSpec};
use bytes::Bytes;

use crate::error::Parsed;
use crate::rest::parameter::{self, once, wrong};
use crate::rest::scanner::Scanner;
use crate::rest::writer;
use crate::{DecodeError, Problem};

/// Decodes the body of `POST /v2/systemsharedmemory/region/{name}/register`. `offset` may be left out and is 0 then.
///
/// # Errors
/// [`DecodeError`] for what is not JSON, lacks a key or has one of the wrong type.
///
/// Source: Triton, "Shared-Memory Extension".
pub fn decode_region(name: Name, body: &[u8]) -> Result<RegionSpec, DecodeError> {
    read(name, body).map_err(|problem| DecodeError::new("", problem))
}

fn read(name: Name, body: &[u8]) -> Parsed<RegionSpec> {
    let (mut region_key, mut offset, mut byte_size) = (None, None, None);
    let mut scanner = Scanner::new(body);
    scanner.object(|scanner, key| match key {
        "key" => {
            let text = Name::from(scanner.string()?.as_ref());
            once(&mut region_key, key, text)
        }
        "offset" => once(&mut offset, key, count(scanner, key)?),
        "byte_size" => once(&mut byte_size, key, count(scanner, key)?),
        _ => scanner.skip_value(),
    })?;
    scanner.finish()?;
    let missing = |key| Box::new(Problem::Missing { key });
    Ok(RegionSpec {
        name,
        key: region_key.ok_or_else(|| missing("key"))?,
        offset: offset.unwrap_or(0),
        byte_size: byte_size.ok_or_else(|| missing("byte_size"))?,
    })
}

fn count(scanner: &mut Scanner<'_>, key: &str) -> Parsed<u64> {
    scanner.peek();
    let start = scanner.offset();
    let value = parameter::read(scanner, key)?.as_u64();
    value.ok_or_else(|| wrong(scanner, key, start, "a whole number of 0 or more"))
}

/// The answer to `GET /v2/systemsharedmemory[/region/{name}]/status`.
#[must_use]
pub fn region_statuses(regions: &[RegionSpec]) -> Bytes {
    let mut out = Vec::new();
    writer::list(&mut out, regions, |out, region| {
        writer::key(out, "{", "name");
        writer::string(out, &region.name);
        writer::key(out, ",", "key");
        writer::string(out, &region.key);
        writer::key(out, ",", "offset");
        writer::integer(out, region.offset);
        writer::key(out, ",", "byte_size");
        writer::integer(out, region.byte_size);
        out.push(b'}');
    });
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str) -> Result<RegionSpec, String> {
        decode_region("r".into(), body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_registered_is_what_status_says() {
        let region =
            decode(r#"{"byte_size":18446744073709551615,"more":[],"key":"/k\"é","offset":7}"#).unwrap();
        let text = region_statuses(&[region, decode(r#"{"key":"k","byte_size":1}"#).unwrap()]);
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            r#"[{"name":"r","key":"/k\"é","offset":7,"byte_size":18446744073709551615},{"name":"r","key":"k","offset":0,"byte_size":1}]"#
        );
        assert_eq!(&region_statuses(&[])[..], b"[]");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (body, expected) in [
            ("", "invalid JSON at byte 0: expected '{', got the end"),
            ("[]", "invalid JSON at byte 0: expected '{', got '['"),
            (r#"{"byte_size":1}"#, "missing 'key'"),
            (r#"{"key":"/k"}"#, "missing 'byte_size'"),
            (
                r#"{"key":"/k","byte_size":-1}"#,
                "parameter 'byte_size': expected a whole number of 0 or more, got -1",
            ),
            (
                r#"{"key":"/k","byte_size":1,"offset":0.5}"#,
                "parameter 'offset': expected a whole number of 0 or more, got 0.5",
            ),
            (r#"{"key":"/k","key":"/l","byte_size":1}"#, "duplicate key 'key'"),
            (r#"{"key":7,"byte_size":1}"#, "invalid JSON at byte 7: expected a string, got '7'"),
            (r#"{"key":"/k","byte_size":1} x"#, "invalid JSON at byte 27: expected the end, got 'x'"),
        ] {
            assert_eq!(decode(body).unwrap_err(), expected, "{body}");
        }
    }
}
