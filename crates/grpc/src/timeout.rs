use std::time::Duration;

use tonic::metadata::MetadataMap;

use crate::error::GrpcError;

const HEADER: &str = "grpc-timeout";
/// The specification's limit.
const MAX_DIGITS: usize = 8;

/// The timeout that the client set on the call.
///
/// # Errors
/// [`GrpcError::Timeout`] for what is not 1 to 8 digits and a unit.
///
/// Source: gRPC over HTTP/2, "Timeout".
pub(crate) fn from_metadata(metadata: &MetadataMap) -> Result<Option<Duration>, GrpcError> {
    let Some(value) = metadata.get(HEADER) else {
        return Ok(None);
    };
    let timeout = value.to_str().ok().and_then(parse);
    let unreadable = || GrpcError::Timeout { given: format!("{value:?}") };
    timeout.map(Some).ok_or_else(unreadable)
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let valid = (1..=MAX_DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| valid)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit() {
        for (text, seconds) in [
            ("2H", 7200.0),
            ("3M", 180.0),
            ("4S", 4.0),
            ("5m", 0.005),
            ("6u", 6e-6),
            ("7n", 7e-9),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        assert_eq!(parse("99999999H").map(|timeout| timeout.as_secs()), Some(359_999_996_400));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "S", "1", "1s", "+1S", "-1S", "1.5S", "123456789S", "1é", "é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
