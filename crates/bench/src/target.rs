use anyhow::{Context, bail, ensure};
use url::Url;

/// What is spoken to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// REST with tensors as JSON numbers, both ways.
    RestJson,
    /// REST with the binary tensor extension, both ways.
    RestBinary,
    /// gRPC with raw tensor contents.
    Grpc,
}

impl Protocol {
    /// The name as the command line has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::RestJson => "rest-json",
            Protocol::RestBinary => "rest-binary",
            Protocol::Grpc => "grpc",
        }
    }
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL as it was given.
    pub url: String,
    /// `host:port`.
    pub address: String,
    /// The host alone, without a port.
    pub host: String,
    /// The path before the protocol's own, without a slash at its end.
    pub base_path: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Whether it is spoken over TLS.
    pub tls: bool,
}

impl Target {
    /// Reads `http://host[:port][/path]` (port 8000) or `grpc://host[:port]` (port 8001), over TLS `https://` and `grpcs://`. A
    /// URL without a scheme is plain and taken as `protocol` says; one whose scheme contradicts it is refused.
    ///
    /// # Errors
    /// For a URL that cannot be read, and a scheme that is none of these.
    pub fn parse(text: &str, protocol: Option<Protocol>) -> anyhow::Result<Self> {
        let is_grpc = protocol == Some(Protocol::Grpc);
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false => format!("{}://{text}", if is_grpc { "grpc" } else { "http" }),
        };
        let url = Url::parse(&whole).with_context(|| format!("cannot read the URL `{text}`"))?;
        let protocol = match (url.scheme(), protocol) {
            ("grpc" | "grpcs", None | Some(Protocol::Grpc)) | ("http" | "https", Some(Protocol::Grpc)) => {
                Protocol::Grpc
            }
            ("grpc" | "grpcs", Some(rest)) => {
                bail!("`{text}` is a gRPC URL, the protocol is {}", rest.as_str())
            }
            ("http" | "https", rest) => rest.unwrap_or(Protocol::RestBinary),
            (scheme, _) => {
                bail!("`{text}`: expected http://, https://, grpc:// or grpcs://, got {scheme}://")
            }
        };
        ensure!(
            url.username().is_empty() && url.password().is_none() && url.query().is_none(),
            "`{text}`: give credentials with --header, and no query"
        );
        let host = url.host_str().with_context(|| format!("`{text}` names no host"))?.to_owned();
        let port = url.port().unwrap_or(match (protocol, url.scheme()) {
            // The `url` crate drops a scheme's own port, so `http://host:80` looks as if none was written.
            (_, "http") if whole.contains(":80/") || whole.ends_with(":80") => 80,
            (_, "https") if whole.contains(":443/") || whole.ends_with(":443") => 443,
            (Protocol::Grpc, _) => 8001,
            _ => 8000,
        });
        Ok(Self {
            url: text.to_owned(),
            address: format!("{host}:{port}"),
            host,
            base_path: url.path().trim_end_matches('/').to_owned(),
            protocol,
            tls: matches!(url.scheme(), "https" | "grpcs"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, protocol: Option<Protocol>) -> (String, Protocol) {
        let target = Target::parse(text, protocol).unwrap();
        (target.address, target.protocol)
    }

    #[test]
    fn schemes_ports_and_protocols() {
        use Protocol::{Grpc, RestBinary, RestJson};
        for (text, given, expected, protocol) in [
            ("http://a", None, "a:8000", RestBinary),
            ("http://a:80/", None, "a:80", RestBinary),
            ("a:9000", Some(RestJson), "a:9000", RestJson),
            ("localhost:9000", None, "localhost:9000", RestBinary),
            ("grpc://a", None, "a:8001", Grpc),
            ("http://a:7", Some(Grpc), "a:7", Grpc),
            ("a", Some(Grpc), "a:8001", Grpc),
            ("grpc://[::1]:7", None, "[::1]:7", Grpc),
        ] {
            assert_eq!(address(text, given), (expected.to_owned(), protocol), "{text}");
        }
        assert_eq!(Target::parse("http://a/x/", None).unwrap().base_path, "/x");
    }

    #[test]
    fn the_scheme_says_tls() {
        use Protocol::{Grpc, RestBinary};
        for (text, given, expected, protocol) in [
            ("https://a", None, "a:8000", RestBinary),
            ("https://a:443/x", None, "a:443", RestBinary),
            ("https://a:7", Some(Grpc), "a:7", Grpc),
            ("grpcs://[::1]", None, "[::1]:8001", Grpc),
        ] {
            assert_eq!(address(text, given), (expected.to_owned(), protocol), "{text}");
            assert!(Target::parse(text, given).unwrap().tls, "{text}");
        }
        assert!(!Target::parse("a:9000", None).unwrap().tls);
    }

    #[test]
    fn what_cannot_be_spoken_is_refused() {
        for text in ["ftp://a", "https://", "http://", "http://u:p@a", "http://a?b"] {
            assert!(Target::parse(text, None).is_err(), "{text}");
        }
        assert!(Target::parse("grpc://a", Some(Protocol::RestJson)).is_err());
        assert!(Target::parse("grpcs://a", Some(Protocol::RestJson)).is_err());
    }
}
