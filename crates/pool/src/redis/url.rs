use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Where Redis is, and who we are to it.
///
/// ```text
/// redis://[user[:password]@]host[:port][/database]
/// redis+cluster://[user[:password]@]host[:port],host[:port],…
/// redis+sentinel://[user[:password]@]host[:port],host[:port],…/master[/database][?sentinel_username=…&sentinel_password=…]
/// ```
///
/// `rediss` in the place of `redis` is TLS. User and password are percent-encoded. Ports are 6379, of Sentinels 26379. What is
/// printed of it, with `{}` and `{:?}`, has its passwords masked.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(crate) tls: bool,
    pub(crate) nodes: Vec<(String, u16)>,
    pub(crate) login: Login,
    pub(crate) database: i64,
    pub(crate) mode: Mode,
}

/// Who we are to a server.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// How the servers belong together.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Single,
    Cluster,
    Sentinel { master: String, login: Login },
}

/// What is wrong with a URL of a backend. Says nothing of what the URL holds: that may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(pub(crate) String);

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// Servers that a URL names; a cluster tells the others itself.
const MAX_NODES: usize = 64;
const MASK: &str = "********";

impl FromStr for RedisUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let fault = |message: &str| UrlError(message.to_owned());
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| fault("is no URL: expected redis://HOST:PORT"))?;
        let (tls, kind) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            ("redis", kind) => (false, kind),
            ("rediss", kind) => (true, kind),
            _ => return Err(fault("expected redis://, rediss://, redis+cluster:// or redis+sentinel://")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Login::parse(login)?, hosts),
            None => (Login::default(), authority),
        };
        let default_port = if kind == "sentinel" { SENTINEL_PORT } else { PORT };
        let nodes = hosts
            .split(',')
            .map(|host| parse_host(host, default_port))
            .collect::<Result<Vec<_>, _>>()?;
        if nodes.len() > MAX_NODES {
            return Err(UrlError(format!("names {} servers; at most {MAX_NODES}", nodes.len())));
        }
        let (mode, database) = match kind {
            "" if nodes.len() > 1 => {
                return Err(fault("names several servers: say redis+cluster:// or redis+sentinel://"));
            }
            "" => (Mode::Single, path),
            "cluster" => (Mode::Cluster, path),
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(fault("names no master: expected redis+sentinel://HOST:PORT/MASTER"));
                }
                (Mode::Sentinel { master: decode(master)?, login: sentinel_login(query)? }, database)
            }
            _ => return Err(fault("expected redis://, redis+cluster:// or redis+sentinel://")),
        };
        if !query.is_empty() && kind != "sentinel" {
            return Err(fault("must not hold a query"));
        }
        let database = match database {
            "" => 0,
            number => number
                .parse()
                .ok()
                .filter(|number| *number >= 0)
                .ok_or_else(|| fault("its path is no number of a database"))?,
        };
        if mode == Mode::Cluster && database != 0 {
            return Err(fault("a cluster has database 0 only"));
        }
        Ok(Self { tls, nodes, login, database, mode })
    }
}

impl RedisUrl {
    /// The same with this password, as it is.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.login.password = Some(password.to_owned());
        self
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, UrlError> {
        let some = |text: &str| (!text.is_empty()).then(|| decode(text)).transpose();
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self { user: some(user)?, password: some(password)? })
    }
}

fn sentinel_login(query: &str) -> Result<Login, UrlError> {
    let mut login = Login::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sentinel_username", value)) => login.user = Some(decode(value)?),
            Some(("sentinel_password", value)) => login.password = Some(decode(value)?),
            _ => {
                return Err(UrlError(
                    "its query may hold sentinel_username and sentinel_password".to_owned(),
                ));
            }
        }
    }
    Ok(login)
}

fn decode(text: &str) -> Result<String, UrlError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| UrlError("is not UTF-8 when percent-decoded".to_owned()))
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
pub(crate) fn parse_host(text: &str, default_port: u16) -> Result<(String, u16), UrlError> {
    let fault = || UrlError("each server is HOST or HOST:PORT, several separated by commas".to_owned());
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(fault)?;
            let port = port.strip_prefix(':').or(port.is_empty().then_some(""));
            (host, port.ok_or_else(fault)?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_host =
        |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
    if host.is_empty() || host.len() > 253 || !is_host(host) {
        return Err(fault());
    }
    let port = match port {
        "" => default_port,
        port => port.parse().ok().filter(|port| *port > 0).ok_or_else(fault)?,
    };
    Ok((host.to_owned(), port))
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        f.write_str(match self.mode {
            Mode::Single => "://",
            Mode::Cluster => "+cluster://",
            Mode::Sentinel { .. } => "+sentinel://",
        })?;
        let Login { user, password } = &self.login;
        let user = user.as_deref().unwrap_or_default();
        match password {
            Some(_) => write!(f, "{user}:{MASK}@")?,
            None if !user.is_empty() => write!(f, "{user}@")?,
            None => {}
        }
        for (index, (host, port)) in self.nodes.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if host.contains(':') {
                write!(f, "{comma}[{host}]:{port}")?;
            } else {
                write!(f, "{comma}{host}:{port}")?;
            }
        }
        if let Mode::Sentinel { master, .. } = &self.mode {
            write!(f, "/{master}")?;
        }
        if self.database != 0 {
            write!(f, "/{}", self.database)?;
        }
        match &self.mode {
            Mode::Sentinel { login: Login { password: Some(_), .. }, .. } => {
                write!(f, "?sentinel_password={MASK}")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> RedisUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn each_form_is_read() {
        let url = parsed("redis://localhost");
        assert_eq!((url.nodes, url.database, url.tls), (vec![("localhost".to_owned(), 6379)], 0, false));
        let url = parsed("rediss://me:p%40ss%2Fword@cache.example:6380/3");
        assert_eq!(url.login.user.as_deref(), Some("me"));
        assert_eq!(url.login.password.as_deref(), Some("p@ss/word"));
        assert_eq!((url.nodes[0].1, url.database, url.tls), (6380, 3, true));
        let url = parsed("redis+cluster://:secret@a,b:7001,[::1]:7002");
        assert!(url.mode == Mode::Cluster && url.login.user.is_none());
        let nodes: Vec<_> = url.nodes.iter().map(|(host, port)| (host.as_str(), *port)).collect();
        assert_eq!(nodes, [("a", 6379), ("b", 7001), ("::1", 7002)]);
        let url = parsed("redis+sentinel://:secret@a,b:5000/mymaster/2?sentinel_password=other");
        let Mode::Sentinel { master, login } = &url.mode else {
            panic!("{url}")
        };
        assert_eq!((master.as_str(), login.password.as_deref()), ("mymaster", Some("other")));
        assert_eq!((url.nodes[0].1, url.nodes[1].1, url.database), (26379, 5000, 2));
        let url = parsed("redis://me:old@a").with_password("n@w");
        assert_eq!(url.login.password.as_deref(), Some("n@w"));
    }

    #[test]
    fn passwords_are_masked_and_users_are_not() {
        for (text, told) in [
            ("redis://:s3cret@a/1", "redis://:********@a:6379/1"),
            ("rediss+cluster://me:s3cret@a,b", "rediss+cluster://me:********@a:6379,b:6379"),
            (
                "redis+sentinel://me@a/m?sentinel_password=s3cret",
                "redis+sentinel://me@a:26379/m?sentinel_password=********",
            ),
        ] {
            let url = parsed(text);
            assert_eq!(url.to_string(), told);
            assert!(!format!("{url:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (text, expected) in [
            ("localhost:6379", "is no URL"),
            ("http://a", "expected redis://"),
            ("redis+ring://a", "expected redis://"),
            ("redis://:s3cret@a,b", "several servers"),
            ("redis://:s3cret@", "HOST or HOST:PORT"),
            ("redis://:s3cret@a:0", "HOST or HOST:PORT"),
            ("redis://:s3cret@a b", "HOST or HOST:PORT"),
            ("redis://a/x", "number of a database"),
            ("redis://a/-1", "number of a database"),
            ("redis://a?x=1", "query"),
            ("redis+cluster://a/1", "database 0"),
            ("redis+sentinel://a", "names no master"),
            ("redis+sentinel://a/m?password=s3cret", "sentinel_username"),
            ("redis://%ff@a", "UTF-8"),
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_password_is_never_told(text in "redis(s?)(\\+cluster|\\+sentinel|)://.{0,40}") {
            let _ = text.parse::<RedisUrl>();
        }

        #[test]
        fn what_is_told_reads_back_to_the_same_but_for_the_password(
            host in "[a-z]{1,8}",
            port in 1..=u16::MAX,
            password in "[a-z]{12}",
        ) {
            let url = parsed(&format!("redis://u:{password}@{host}:{port}/4"));
            let told = url.to_string();
            prop_assert!(!told.contains(&password));
            let again = parsed(&told);
            prop_assert_eq!((again.nodes, again.database), (url.nodes, url.database));
        }
    }
}
