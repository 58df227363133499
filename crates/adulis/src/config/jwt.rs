//! Signed tokens: whose, and what they say.

use std::path::PathBuf;
use std::time::Duration;

use adulis_security::{KeySetPlace, TokenAlgorithm, TokenOptions};
use serde::{Deserialize, Serialize};

use super::auth::names;
use super::check::Check;
use super::units::format_duration;

const DEFAULT_ALGORITHMS: [&str; 2] = ["RS256", "ES256"];
const DEFAULT_REFRESH: Duration = Duration::from_secs(10 * 60);
const DEFAULT_OUTAGE: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawJwt {
    issuer: Option<String>,
    audience: Option<Vec<String>>,
    algorithms: Option<Vec<String>>,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    jwks_ca_file: Option<PathBuf>,
    refresh: Option<String>,
    outage: Option<String>,
    leeway: Option<String>,
    name_claim: Option<String>,
    scopes_claim: Option<String>,
    scope_prefix: Option<String>,
    scopes: Option<Vec<String>>,
    models_claim: Option<String>,
    quota_claim: Option<String>,
}

impl Check<'_> {
    pub(super) fn jwt(&mut self, raw: &RawJwt) -> Option<TokenOptions> {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let Some(issuer) = text(&raw.issuer) else {
            let place = raw.jwks_file.as_ref().filter(|path| !path.as_os_str().is_empty());
            if place.is_some() || text(&raw.jwks_url).is_some() {
                self.faults.push("auth.jwt.issuer", "is missing: without it no token is taken");
            }
            return None;
        };
        let audiences = raw.audience.clone().unwrap_or_default();
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            // A token that is meant for somebody else is not for us, whoever signed it.
            let remedy = "name what the issuer calls this server, for example [\"adulis\"]";
            self.faults.push_with_remedy("auth.jwt.audience", "names nobody", remedy);
        }
        let keys = self.key_set(raw)?;
        let scopes = self.scopes("auth.jwt.scopes", raw.scopes.as_deref().unwrap_or_default());
        let mut time = |key: &str, raw: Option<&str>, least: Duration, default: Duration| {
            self.duration(key, raw, &(least..=30 * DAY)).unwrap_or(default)
        };
        let second = Duration::from_secs(1);
        Some(TokenOptions {
            refresh: time("auth.jwt.refresh", raw.refresh.as_deref(), second, DEFAULT_REFRESH),
            outage: time("auth.jwt.outage", raw.outage.as_deref(), Duration::ZERO, DEFAULT_OUTAGE),
            leeway: time("auth.jwt.leeway", raw.leeway.as_deref(), Duration::ZERO, DEFAULT_LEEWAY),
            issuer,
            audiences,
            algorithms: self.algorithms(raw.algorithms.as_deref()),
            keys,
            name_claim: text(&raw.name_claim).unwrap_or_else(|| "sub".to_owned()),
            scopes_claim: text(&raw.scopes_claim).unwrap_or_else(|| "scope".to_owned()),
            scope_prefix: raw.scope_prefix.clone().unwrap_or_default(),
            scopes,
            models_claim: text(&raw.models_claim),
            quota_claim: text(&raw.quota_claim),
        })
    }

    fn algorithms(&mut self, raw: Option<&[String]>) -> Vec<TokenAlgorithm> {
        let default = DEFAULT_ALGORITHMS.map(str::to_owned);
        let names = raw.unwrap_or(&default);
        let mut algorithms = Vec::with_capacity(names.len());
        for name in names {
            match TokenAlgorithm::named(name) {
                Some(algorithm) => algorithms.push(algorithm),
                None => {
                    let known = TokenAlgorithm::ALL.map(|(name, _)| name).join(", ");
                    let message = format!("{name:?} is not taken: expected {known}");
                    self.faults.push("auth.jwt.algorithms", message);
                }
            }
        }
        if names.is_empty() {
            self.faults.push("auth.jwt.algorithms", "names no algorithm");
        }
        algorithms
    }

    fn key_set(&mut self, raw: &RawJwt) -> Option<KeySetPlace> {
        let file = raw.jwks_file.clone().filter(|path| !path.as_os_str().is_empty());
        let url = raw.jwks_url.clone().filter(|url| !url.is_empty());
        let ca_file = raw.jwks_ca_file.clone().filter(|path| !path.as_os_str().is_empty());
        match (file, url) {
            (Some(path), None) => Some(KeySetPlace::File(path)),
            (None, Some(url)) if is_safe(&url) => Some(KeySetPlace::Url { url, ca_file }),
            (None, Some(_)) => {
                let message = "must be https, or http on this machine, without a user and a password in it";
                let remedy = "for example \"https://issuer.example/.well-known/jwks.json\"";
                self.faults.push_with_remedy("auth.jwt.jwks_url", message, remedy);
                None
            }
            (Some(_), Some(_)) => {
                self.faults
                    .push("auth.jwt.jwks_url", "stands beside auth.jwt.jwks_file: name one of them");
                None
            }
            (None, None) => {
                let message = "is missing, and auth.jwt.jwks_file, too: where are the issuer's public keys?";
                self.faults.push("auth.jwt.jwks_url", message);
                None
            }
        }
    }
}

/// Whether nobody on the way can change what is fetched.
fn is_safe(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_here = |name: &str| {
        authority == name || authority.strip_prefix(name).is_some_and(|port| port.starts_with(':'))
    };
    if authority.is_empty() || authority.contains('@') || url.contains(char::is_whitespace) {
        return false;
    }
    match scheme {
        "https" => true,
        "http" => ["127.0.0.1", "localhost", "[::1]"].into_iter().any(is_here),
        _ => false,
    }
}

pub(super) fn print(tokens: Option<&TokenOptions>) -> RawJwt {
    let path = |path: Option<&PathBuf>| Some(path.cloned().unwrap_or_default());
    let Some(tokens) = tokens else {
        return RawJwt {
            issuer: Some(String::new()),
            audience: Some(Vec::new()),
            algorithms: Some(DEFAULT_ALGORITHMS.map(str::to_owned).into()),
            jwks_file: path(None),
            jwks_url: Some(String::new()),
            jwks_ca_file: path(None),
            refresh: Some(format_duration(DEFAULT_REFRESH)),
            outage: Some(format_duration(DEFAULT_OUTAGE)),
            leeway: Some(format_duration(DEFAULT_LEEWAY)),
            name_claim: Some("sub".to_owned()),
            scopes_claim: Some("scope".to_owned()),
            scope_prefix: Some(String::new()),
            scopes: Some(Vec::new()),
            models_claim: Some(String::new()),
            quota_claim: Some(String::new()),
        };
    };
    let (file, url, ca_file) = match &tokens.keys {
        KeySetPlace::File(file) => (Some(file), String::new(), None),
        KeySetPlace::Url { url, ca_file } => (None, url.clone(), ca_file.as_ref()),
    };
    RawJwt {
        issuer: Some(tokens.issuer.clone()),
        audience: Some(tokens.audiences.clone()),
        algorithms: Some(tokens.algorithms.iter().map(|algorithm| algorithm.as_str().to_owned()).collect()),
        jwks_file: path(file),
        jwks_url: Some(url),
        jwks_ca_file: path(ca_file),
        refresh: Some(format_duration(tokens.refresh)),
        outage: Some(format_duration(tokens.outage)),
        leeway: Some(format_duration(tokens.leeway)),
        name_claim: Some(tokens.name_claim.clone()),
        scopes_claim: Some(tokens.scopes_claim.clone()),
        scope_prefix: Some(tokens.scope_prefix.clone()),
        scopes: Some(names(tokens.scopes)),
        models_claim: Some(tokens.models_claim.clone().unwrap_or_default()),
        quota_claim: Some(tokens.quota_claim.clone().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    fn checked(text: &str) -> Result<Option<TokenOptions>, Vec<String>> {
        let raw: RawJwt = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        let tokens = Check { faults: &mut faults }.jwt(&raw);
        let told: Vec<String> = faults
            .into_vec()
            .into_iter()
            .map(|fault| format!("{}: {}", fault.key, fault.message))
            .collect();
        if told.is_empty() { Ok(tokens) } else { Err(told) }
    }

    const LEAST: &str = "issuer = 'https://i'\naudience = ['adulis']\n";

    #[test]
    fn what_is_printed_reads_back_the_same() {
        assert_eq!(checked("").unwrap(), None);
        for more in [
            "jwks_file = '/keys.json'",
            "jwks_url = 'https://i/keys'\njwks_ca_file = '/ca.pem'\nalgorithms = ['EdDSA', 'PS512']\nrefresh = '1m'\n\
             outage = '0s'\nleeway = '0s'\nname_claim = 'email'\nscopes_claim = 'roles'\nscope_prefix = 'adulis.'\n\
             scopes = ['infer']\nmodels_claim = 'models'\nquota_claim = 'plan'",
        ] {
            let tokens = checked(&format!("{LEAST}{more}")).unwrap();
            let printed = toml::to_string(&print(tokens.as_ref())).unwrap();
            assert_eq!(checked(&printed).unwrap(), tokens, "{printed}");
        }
    }

    #[test]
    fn what_is_not_safe_is_refused() {
        for (text, expected) in [
            ("jwks_url = 'https://i/keys'".to_owned(), "auth.jwt.issuer: is missing"),
            ("issuer = 'x'\njwks_file = 'k'".to_owned(), "auth.jwt.audience: names nobody"),
            (LEAST.to_owned(), "auth.jwt.jwks_url: is missing"),
            (
                format!("{LEAST}jwks_url = 'https://i'\njwks_file = 'k'"),
                "auth.jwt.jwks_url: stands beside",
            ),
            (
                format!("{LEAST}jwks_url = 'http://issuer.example/keys'"),
                "auth.jwt.jwks_url: must be https",
            ),
            (
                format!("{LEAST}jwks_url = 'http://localhost.evil/keys'"),
                "auth.jwt.jwks_url: must be https",
            ),
            (
                format!("{LEAST}jwks_url = 'https://user:planted@i/keys'"),
                "auth.jwt.jwks_url: must be https",
            ),
            (format!("{LEAST}jwks_url = 'file:///etc/passwd'"), "auth.jwt.jwks_url: must be https"),
            (
                format!("{LEAST}jwks_file = 'k'\nalgorithms = ['none']"),
                "auth.jwt.algorithms: \"none\" is not",
            ),
            (
                format!("{LEAST}jwks_file = 'k'\nalgorithms = ['HS256']"),
                "auth.jwt.algorithms: \"HS256\" is not",
            ),
            (format!("{LEAST}jwks_file = 'k'\nalgorithms = []"), "auth.jwt.algorithms: names no"),
            (
                format!("{LEAST}jwks_file = 'k'\nscopes = ['all']"),
                "auth.jwt.scopes: \"all\" is no scope",
            ),
        ] {
            let told = checked(&text).unwrap_err();
            assert!(told.len() == 1 && told[0].starts_with(expected), "{text}: {told:?}");
            assert!(!told[0].contains("planted"));
        }
        for url in [
            "http://127.0.0.1:8080/k",
            "http://[::1]/k",
            "http://localhost/k",
            "https://i.example/k",
        ] {
            assert!(checked(&format!("{LEAST}jwks_url = '{url}'")).is_ok(), "{url}");
        }
    }
}
