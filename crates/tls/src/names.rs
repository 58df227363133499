use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A server's certificates by the names they are for.
///
/// A client that names a host gets a certificate for it, else one whose wildcard covers it, else the first of all, which is
/// also shown to who names none. Of several for one name (as RSA beside ECDSA) the first is taken whose signatures the client
/// understands.
#[derive(Debug, Default)]
pub(crate) struct Names {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By the part behind `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

impl Names {
    /// Adds a certificate for `hosts`, which are in lower case.
    pub(crate) fn add(&mut self, key: Arc<CertifiedKey>, hosts: &[String]) {
        for host in hosts {
            let (by_name, name) = match host.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, host.as_str()),
            };
            by_name.entry(name.to_owned()).or_default().push(Arc::clone(&key));
        }
        self.all.push(key);
    }

    /// The certificates that may be shown to a client that asks for `host`. A wildcard stands for one label.
    ///
    /// Source: RFC 9525, section 6.3.
    fn of(&self, host: Option<&str>) -> &[Arc<CertifiedKey>] {
        let named = host.and_then(|host| {
            let host = host.to_ascii_lowercase();
            let parent = || self.wildcard.get(host.split_once('.')?.1);
            self.exact.get(&host).or_else(parent)
        });
        named.unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        choose(self.of(hello.server_name()), hello.signature_schemes())
    }
}

fn choose(keys: &[Arc<CertifiedKey>], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
    let understood = keys.iter().find(|key| key.key.choose_scheme(schemes).is_some());
    understood.or(keys.first()).map(Arc::clone)
}

#[cfg(test)]
mod tests {
    use adulis_testing::TestAuthority;

    use super::*;
    use crate::provider::provider;

    fn certified(names: &[&str]) -> (Arc<CertifiedKey>, Vec<String>) {
        let pair = TestAuthority::new().server(names);
        let key = CertifiedKey::from_der(vec![pair.der()], pair.key_der(), &provider()).unwrap();
        (Arc::new(key), names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn exact_names_go_before_wildcards_and_the_first_stands_for_the_rest() {
        let all = [
            certified(&["first.example"]),
            certified(&["*.example.com"]),
            certified(&["api.example.com"]),
        ];
        let mut names = Names::default();
        for (key, hosts) in &all {
            names.add(Arc::clone(key), hosts);
        }
        let shown = |host| {
            let key = choose(names.of(host), &[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
            all.iter().position(|(known, _)| Arc::ptr_eq(known, &key)).unwrap()
        };
        for (host, expected) in [
            (Some("first.example"), 0),
            (Some("API.example.com"), 2),
            (Some("web.example.com"), 1),
            (Some("example.com"), 0),
            (Some("a.web.example.com"), 0),
            (Some("unknown"), 0),
            (None, 0),
        ] {
            assert_eq!(shown(host), expected, "{host:?}");
        }
    }

    #[test]
    fn a_client_that_understands_none_still_sees_the_first() {
        let (key, hosts) = certified(&["a.example"]);
        let mut names = Names::default();
        names.add(Arc::clone(&key), &hosts);
        let shown = choose(names.of(None), &[SignatureScheme::RSA_PSS_SHA256]).unwrap();
        assert!(Arc::ptr_eq(&shown, &key));
        assert!(choose(&[], &[]).is_none());
    }
}
