//! Who may do what: keys of the store and of the configuration, and what is noted of changes.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use adulis_http::HeaderPattern;
use adulis_security::{AuthOptions, CertificateRule, ConfiguredKey, KeyDigest, RestrictedApi};
use adulis_types::{Identity, IdentityKind, ModelPatterns, Scope, Scopes, Wire};
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::jwt::{self, RawJwt};
use super::restricted;
use super::units::format_duration;

/// Longest name of a header.
const MAX_HEADER_BYTES: usize = 64;
/// Headers that say something else already.
const TAKEN_HEADERS: [&str; 6] = [
    "authorization",
    "x-api-key",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
];
const HTTP_RESTRICTED: &str = "auth.http_restricted_api";
const GRPC_RESTRICTED: &str = "auth.grpc_restricted_protocol";
const MAX_IDENTITIES: i64 = 1 << 20;
const MAX_LOOKUPS: i64 = 1000;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// Whether anybody is asked who they are.
    pub enabled: bool,
    /// Whether keys of the store are known.
    pub api_keys: bool,
    /// What is kept for requests with a header, whether anybody is asked who they are or not.
    pub restricted: Vec<RestrictedApi>,
    /// The rest.
    pub options: AuthOptions,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            api_keys: true,
            restricted: Vec::new(),
            options: AuthOptions::default(),
        }
    }
}

impl AuthConfig {
    /// What headers become parameters by `pattern`: none of those that hold keys.
    pub(super) fn forwarded(&self, pattern: Option<&HeaderPattern>) -> Option<HeaderPattern> {
        let keys = self.options.keys.iter().filter_map(|key| key.header.clone());
        let apis = self.restricted.iter().map(|api| api.header.clone());
        pattern.map(|pattern| pattern.clone().without(keys.chain(apis)))
    }
}

/// What is noted of changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditConfig {
    /// The file; `None`: the log alone.
    pub file: Option<PathBuf>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAuth {
    enabled: Option<bool>,
    api_keys: Option<bool>,
    anonymous: Option<Vec<String>>,
    ttl: Option<String>,
    outage: Option<String>,
    max_identities: Option<i64>,
    max_lookups: Option<i64>,
    http_restricted_api: Option<Vec<String>>,
    grpc_restricted_protocol: Option<Vec<String>>,
    keys: BTreeMap<String, RawKey>,
    jwt: RawJwt,
    certificates: BTreeMap<String, RawCertificate>,
}

/// A key, by what it is called.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawKey {
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    scopes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<String>,
}

/// What certificates of some names may do, by what the rule is called.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCertificate {
    names: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<String>,
}

/// What all identities of the configuration have.
struct RawIdentity<'a> {
    section: &'a str,
    name: &'a str,
    scopes: Option<&'a [String]>,
    models: Option<&'a Vec<String>>,
    weight: Option<i64>,
    quota: Option<&'a str>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAudit {
    file: Option<PathBuf>,
}

impl Check<'_> {
    pub(super) fn auth(&mut self, raw: &RawAuth, default: &AuthConfig) -> AuthConfig {
        let options = &default.options;
        let anonymous = raw.anonymous.as_deref().map(|names| self.scopes("auth.anonymous", names));
        let keys: Vec<_> = raw.keys.iter().filter_map(|(name, raw)| self.configured_key(name, raw)).collect();
        self.keys_differ(&keys);
        let restricted = [
            (HTTP_RESTRICTED, Wire::Rest, &raw.http_restricted_api),
            (GRPC_RESTRICTED, Wire::Grpc, &raw.grpc_restricted_protocol),
        ];
        let restricted = restricted
            .into_iter()
            .flat_map(|(key, wire, told)| self.restricted(key, wire, told.as_deref().unwrap_or_default()))
            .collect();
        let auth = AuthConfig {
            enabled: raw.enabled.unwrap_or(default.enabled),
            api_keys: raw.api_keys.unwrap_or(default.api_keys),
            restricted,
            options: AuthOptions {
                anonymous: anonymous.unwrap_or(options.anonymous),
                keys,
                tokens: self.jwt(&raw.jwt),
                certificates: raw
                    .certificates
                    .iter()
                    .map(|(name, raw)| self.certificate_rule(name, raw))
                    .collect(),
                ttl: self
                    .duration("auth.ttl", raw.ttl.as_deref(), &(Duration::from_millis(100)..=HOUR))
                    .unwrap_or(options.ttl),
                outage: self
                    .duration("auth.outage", raw.outage.as_deref(), &(Duration::ZERO..=24 * HOUR))
                    .unwrap_or(options.outage),
                capacity: self
                    .whole("auth.max_identities", raw.max_identities, 1..=MAX_IDENTITIES)
                    .unwrap_or(options.capacity),
                max_lookups: self
                    .whole("auth.max_lookups", raw.max_lookups, 1..=MAX_LOOKUPS)
                    .unwrap_or(options.max_lookups),
            },
        };
        let options = &auth.options;
        let is_set_up = !raw.keys.is_empty() || options.tokens.is_some() || !options.certificates.is_empty();
        if !auth.enabled && is_set_up {
            // Whoever sets identities up takes the server for guarded.
            let message = "is false, and there are identities, which nobody would be asked for";
            self.faults.push_with_remedy("auth.enabled", message, "set auth.enabled = true");
        }
        auth
    }

    fn configured_key(&mut self, name: &str, raw: &RawKey) -> Option<ConfiguredKey> {
        let key = |field: &str| format!("auth.keys.{name}.{field}");
        // The text is not repeated: it may be the key itself.
        let digest = match raw.digest.as_deref().map(str::parse::<KeyDigest>) {
            Some(Ok(digest)) => Some(digest),
            Some(Err(error)) => {
                self.faults.push(key("digest"), error.to_string());
                None
            }
            None => {
                self.faults.push(key("digest"), "is missing");
                None
            }
        };
        let identity = self.identity(&RawIdentity {
            section: "auth.keys",
            name,
            scopes: raw.scopes.as_deref(),
            models: raw.models.as_ref(),
            weight: raw.weight,
            quota: raw.quota.as_deref(),
        });
        let header = raw.header.as_deref().filter(|header| !header.is_empty());
        let header = header.and_then(|header| self.header_name(key("header"), header));
        let expires_at = raw.expires.as_deref().and_then(|text| self.moment(key("expires"), text));
        let identity = Identity { expires_at, ..identity };
        Some(ConfiguredKey { digest: digest?, header, identity })
    }

    fn certificate_rule(&mut self, name: &str, raw: &RawCertificate) -> CertificateRule {
        let names = raw.names.as_deref().unwrap_or_default();
        if names.is_empty() {
            let key = format!("auth.certificates.{name}.names");
            self.faults.push_with_remedy(key, "names nobody", "for example [\"spiffe://example/*\"]");
        }
        let identity = self.identity(&RawIdentity {
            section: "auth.certificates",
            name,
            scopes: raw.scopes.as_deref(),
            models: raw.models.as_ref(),
            weight: raw.weight,
            quota: raw.quota.as_deref(),
        });
        let kind = IdentityKind::Certificate;
        CertificateRule {
            names: ModelPatterns::new(names.to_vec()),
            identity: Identity { kind, ..identity },
        }
    }

    fn identity(&mut self, raw: &RawIdentity<'_>) -> Identity {
        let key = |field: &str| format!("{}.{}.{field}", raw.section, raw.name);
        let scopes = self.scopes(&key("scopes"), raw.scopes.unwrap_or_default());
        if raw.scopes.is_none_or(<[String]>::is_empty) {
            let remedy = "for example [\"infer\", \"metadata\"]";
            self.faults.push_with_remedy(key("scopes"), "names no scope", remedy);
        }
        let weight = self.whole(key("weight"), raw.weight, 1..=1 << 20);
        let weight = weight.and_then(|weight| NonZeroU32::new(u32::try_from(weight).ok()?));
        Identity {
            models: raw.models.map_or(ModelPatterns::ALL, |models| ModelPatterns::new(models.clone())),
            weight: weight.unwrap_or(NonZeroU32::MIN),
            quota: raw.quota.unwrap_or_default().into(),
            ..Identity::new(raw.name, IdentityKind::ConfiguredKey, scopes)
        }
    }

    /// One key is one identity.
    fn keys_differ(&mut self, keys: &[ConfiguredKey]) {
        for (index, key) in keys.iter().enumerate() {
            let same = |other: &&ConfiguredKey| other.digest == key.digest && other.header == key.header;
            if let Some(other) = keys[..index].iter().find(same) {
                let message = format!("is that of auth.keys.{}, too", other.identity.name);
                self.faults.push(format!("auth.keys.{}.digest", key.identity.name), message);
            }
        }
    }

    pub(super) fn scopes(&mut self, key: &str, names: &[String]) -> Scopes {
        let mut scopes = Scopes::NONE;
        for name in names {
            match Scope::named(name) {
                Some(scope) => scopes = scopes.with(scope),
                None => {
                    let known = Scope::ALL.map(Scope::as_str).join(", ");
                    self.faults.push(key, format!("{name:?} is no scope: expected {known}"));
                }
            }
        }
        scopes
    }

    pub(super) fn header_name(&mut self, key: String, header: &str) -> Option<String> {
        let name = header.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.len() <= MAX_HEADER_BYTES
            && name.bytes().all(plain)
            && !TAKEN_HEADERS.contains(&name.as_str())
        {
            return Some(name);
        }
        let message =
            format!("{header:?} cannot hold a key: expected letters, digits and - in a name of its own");
        self.faults.push_with_remedy(key, message, "for example \"admin-key\"");
        None
    }

    fn moment(&mut self, key: String, text: &str) -> Option<SystemTime> {
        let date = || humantime::parse_rfc3339_weak(&format!("{text}T00:00:00"));
        match humantime::parse_rfc3339_weak(text).or_else(|_| date()) {
            Ok(moment) => Some(moment),
            Err(_) => {
                let message = format!("{text:?} is no moment");
                self.faults.push_with_remedy(key, message, "for example \"2027-01-31T12:00:00Z\"");
                None
            }
        }
    }
}

impl AuthConfig {
    pub(super) fn print(&self) -> RawAuth {
        let AuthOptions { anonymous, keys, tokens, certificates, ttl, outage, capacity, max_lookups } =
            &self.options;
        let count = |count: &usize| Some(i64::try_from(*count).unwrap_or(i64::MAX));
        RawAuth {
            enabled: Some(self.enabled),
            api_keys: Some(self.api_keys),
            anonymous: Some(names(*anonymous)),
            ttl: Some(format_duration(*ttl)),
            outage: Some(format_duration(*outage)),
            max_identities: count(capacity),
            max_lookups: count(max_lookups),
            http_restricted_api: Some(restricted::print(&self.restricted, Wire::Rest)),
            grpc_restricted_protocol: Some(restricted::print(&self.restricted, Wire::Grpc)),
            keys: keys.iter().map(print_key).collect(),
            jwt: jwt::print(tokens.as_ref()),
            certificates: certificates.iter().map(print_rule).collect(),
        }
    }
}

fn print_key(key: &ConfiguredKey) -> (String, RawKey) {
    let identity = &key.identity;
    let raw = RawKey {
        digest: Some(key.digest.to_string()),
        header: key.header.clone(),
        scopes: Some(names(identity.scopes)),
        models: Some(identity.models.iter().map(str::to_owned).collect()),
        expires: identity.expires_at.map(|at| humantime::format_rfc3339(at).to_string()),
        weight: Some(identity.weight.get().into()),
        quota: Some(identity.quota.to_string()).filter(|quota| !quota.is_empty()),
    };
    (identity.name.to_string(), raw)
}

fn print_rule(rule: &CertificateRule) -> (String, RawCertificate) {
    let identity = &rule.identity;
    let texts = |patterns: &ModelPatterns| Some(patterns.iter().map(str::to_owned).collect());
    let raw = RawCertificate {
        names: texts(&rule.names),
        scopes: Some(names(identity.scopes)),
        models: texts(&identity.models),
        weight: Some(identity.weight.get().into()),
        quota: Some(identity.quota.to_string()).filter(|quota| !quota.is_empty()),
    };
    (identity.name.to_string(), raw)
}

pub(super) fn names(scopes: Scopes) -> Vec<String> {
    scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
}

impl AuditConfig {
    pub(super) fn check(raw: &RawAudit) -> Self {
        Self { file: raw.file.clone().filter(|path| !path.as_os_str().is_empty()) }
    }

    pub(super) fn print(&self) -> RawAudit {
        RawAudit { file: Some(self.file.clone().unwrap_or_default()) }
    }
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn checked(text: &str) -> Result<AuthConfig, Vec<String>> {
        let raw: RawAuth = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        let auth = Check { faults: &mut faults }.auth(&raw, &AuthConfig::default());
        let told: Vec<String> = faults
            .into_vec()
            .into_iter()
            .map(|fault| format!("{}: {}", fault.key, fault.message))
            .collect();
        if told.is_empty() { Ok(auth) } else { Err(told) }
    }

    #[test]
    fn keys_are_read_and_printed() {
        let auth = checked(&format!(
            "enabled = true\nanonymous = []\n[keys.ops]\ndigest = '{DIGEST}'\nheader = 'Admin-Key'\n\
             scopes = ['repository', 'cache']\nmodels = ['team-*']\nexpires = '2027-01-31'\nweight = 3\nquota = 'gold'\n\
             [keys.plain]\ndigest = '{DIGEST}'\nscopes = ['infer']\n\
             [jwt]\nissuer = 'https://i'\naudience = ['a']\njwks_file = 'k'\n\
             [certificates.mesh]\nnames = ['spiffe://example/*']\nscopes = ['infer']\nmodels = ['m']\n"
        ));
        let auth = auth.unwrap();
        let [ops, plain] = &auth.options.keys[..] else {
            panic!("{auth:?}")
        };
        assert_eq!((ops.header.as_deref(), plain.header.as_deref()), (Some("admin-key"), None));
        assert_eq!((ops.identity.name.as_str(), ops.identity.weight.get()), ("ops", 3));
        assert!(ops.identity.may(Scope::Cache, Some("team-a")) && !ops.identity.may(Scope::Cache, Some("a")));
        assert!(plain.identity.may(Scope::Infer, Some("a")) && auth.options.anonymous.is_empty());
        let printed = toml::to_string(&auth.print()).unwrap();
        assert_eq!(checked(&printed).unwrap(), auth, "{printed}");
    }

    #[test]
    fn what_would_let_in_whom_nobody_meant_is_a_fault() {
        for (text, expected) in [
            ("[keys.a]\ndigest = 'DIGEST'\nscopes = ['infer']", "auth.enabled: is false"),
            ("enabled = true\nanonymous = ['inferr']", "auth.anonymous: \"inferr\" is no scope"),
            ("enabled = true\n[keys.a]\nscopes = ['infer']", "auth.keys.a.digest: is missing"),
            ("enabled = true\n[keys.a]\ndigest = 'DIGEST'", "auth.keys.a.scopes: names no scope"),
            (
                "enabled = true\n[keys.a]\ndigest = 'DIGEST'\nscopes = ['infer']\nheader = 'Authorization'",
                "auth.keys.a.header: \"Authorization\" cannot hold a key",
            ),
            (
                "enabled = true\n[keys.a]\ndigest = 'DIGEST'\nscopes = ['infer']\nexpires = 'soon'",
                "auth.keys.a.expires: \"soon\" is no moment",
            ),
            (
                "enabled = true\n[keys.a]\ndigest = 'DIGEST'\nscopes = ['infer']\n[keys.b]\ndigest = 'DIGEST'\nscopes = ['infer']",
                "auth.keys.b.digest: is that of auth.keys.a, too",
            ),
            ("enabled = true\nttl = '1ms'", "auth.ttl: expected"),
            (
                "enabled = true\n[certificates.a]\nscopes = ['infer']",
                "auth.certificates.a.names: names nobody",
            ),
            ("[certificates.a]\nnames = ['*']\nscopes = ['infer']", "auth.enabled: is false"),
        ] {
            let told = checked(&text.replace("DIGEST", DIGEST)).unwrap_err();
            assert!(told.len() == 1 && told[0].starts_with(expected), "{text}: {told:?}");
        }
    }

    #[test]
    fn a_key_where_its_digest_should_be_is_not_repeated() {
        let told =
            checked("enabled = true\n[keys.a]\ndigest = 'planted-secret'\nscopes = ['infer']").unwrap_err();
        assert!(told.len() == 1 && !told[0].contains("planted"), "{told:?}");
    }
}
