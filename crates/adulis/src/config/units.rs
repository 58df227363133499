use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What switches a thing off.
pub(super) const OFF: &str = "off";
/// What the server finds out by itself.
pub(super) const AUTO: &str = "auto";

const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// A size as people write it: `64MiB`, `1.5 GB`-like fractions excepted, or a number of bytes.
pub(super) fn parse_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim_start() {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    usize::try_from(number.checked_mul(factor)?).ok()
}

/// A size in its largest whole binary unit.
pub(super) fn format_bytes(bytes: usize) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// A duration as people write it, such as `500ms`; `0` needs no unit.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    match text.trim() {
        "0" => Some(Duration::ZERO),
        text => humantime::parse_duration(text).ok(),
    }
}

/// A duration as [`parse_duration`] reads it.
pub(super) fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// `ADDRESS:PORT`; `:PORT` stands for all IPv4 interfaces, `localhost` for 127.0.0.1.
pub(super) fn parse_address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    if let Some((host, port)) = text.rsplit_once(':') {
        let address = match host {
            "" => Some(Ipv4Addr::UNSPECIFIED),
            "localhost" => Some(Ipv4Addr::LOCALHOST),
            _ => None,
        };
        if let Some(address) = address {
            return Some(SocketAddr::from((address, port.parse().ok()?)));
        }
    }
    text.parse().ok()
}

/// An address, or `off`.
pub(super) fn format_address(address: Option<SocketAddr>) -> String {
    let mut text = String::new();
    match address {
        Some(address) => write!(text, "{address}").unwrap_or_default(),
        None => text.push_str(OFF),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1 kB", 1000),
            ("3gib", 3 << 30),
            ("17", 17),
            ("0", 0),
            ("5B", 5),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.5GiB",
            "1 parsec",
            "99999999999999999999",
            "99999999999TiB",
            "é",
        ] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
        for bytes in [0, 1, 1023, 1024, 1025, 64 << 20, 3 << 30, usize::MAX] {
            assert_eq!(parse_bytes(&format_bytes(bytes)), Some(bytes));
        }
    }

    #[test]
    fn durations() {
        for duration in [Duration::ZERO, Duration::from_micros(10), Duration::from_secs(75)] {
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("500"), None);
    }

    #[test]
    fn addresses() {
        for (text, address) in [
            (":8000", "0.0.0.0:8000"),
            ("localhost:1", "127.0.0.1:1"),
            ("[::1]:80", "[::1]:80"),
            ("10.0.0.1:65535", "10.0.0.1:65535"),
        ] {
            assert_eq!(parse_address(text), address.parse().ok(), "{text}");
        }
        for text in ["", "8000", ":65536", ":", "example.com:80", "::1:80:", "1.2.3:4"] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }
}
