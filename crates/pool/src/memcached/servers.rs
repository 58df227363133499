use std::fmt;
use std::str::FromStr;

use crate::UrlError;
use crate::redis::parse_host;

const PORT: u16 = 11211;
const MAX_SERVERS: usize = 64;

/// The servers that keys are spread over: `memcached://host[:port],host[:port],…`. Ports are 11211. Every replica must be told
/// the same ones; their order does not matter.
///
/// There is no TLS and no authentication, and addresses are IPv4: that is what the client library speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemcachedServers(pub(crate) Vec<String>);

impl FromStr for MemcachedServers {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let fault = |message: String| Err(UrlError(message));
        let Some(hosts) = text.strip_prefix("memcached://") else {
            return fault("is no URL: expected memcached://HOST:PORT,HOST:PORT".to_owned());
        };
        if hosts.contains('@') {
            return fault("must not hold a user: Memcached is spoken to without".to_owned());
        }
        let mut servers = Vec::new();
        for host in hosts.trim_end_matches('/').split(',') {
            let (host, port) = parse_host(host, PORT)?;
            if host.contains(':') {
                return fault(
                    "names an IPv6 address, which Memcached's client does not connect to".to_owned(),
                );
            }
            let server = format!("{host}:{port}");
            if servers.contains(&server) {
                return fault(format!("names {server} twice"));
            }
            servers.push(server);
        }
        if servers.len() > MAX_SERVERS {
            return fault(format!("names {} servers; at most {MAX_SERVERS}", servers.len()));
        }
        Ok(Self(servers))
    }
}

impl fmt::Display for MemcachedServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memcached://{}", self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let servers: MemcachedServers = "memcached://a,b.example:1/".parse().unwrap();
        assert_eq!(servers.to_string(), "memcached://a:11211,b.example:1");
        for (text, expected) in [
            ("a:11211", "is no URL"),
            ("memcached://", "HOST or HOST:PORT"),
            ("memcached://u:p@a", "must not hold a user"),
            ("memcached://[::1]:5", "IPv6"),
            ("memcached://a,a:11211", "names a:11211 twice"),
            ("memcached://a:x", "HOST or HOST:PORT"),
        ] {
            let error = text.parse::<MemcachedServers>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
