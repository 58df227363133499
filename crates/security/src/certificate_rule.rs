use std::sync::Arc;

use adulis_types::{ClientCertificate, Identity, IdentityKind, ModelPatterns, Name};

/// What whoever shows a certificate of such a name may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRule {
    /// Patterns of the name that a certificate stands for ([`ClientCertificate::identity`]); `*` stands for anything.
    pub names: ModelPatterns,
    /// What it may do. Its name is the rule's; that of the identity is the certificate's.
    pub identity: Identity,
}

impl CertificateRule {
    /// Who shows a certificate, by the first rule for its name. `None` where there is none.
    pub(crate) fn find(rules: &[Self], certificate: &ClientCertificate) -> Option<Arc<Identity>> {
        let name = certificate.identity()?;
        let rule = rules.iter().find(|rule| rule.names.matches(name))?;
        let ends = certificate.not_after;
        Some(Arc::new(Identity {
            name: Name::from(name),
            kind: IdentityKind::Certificate,
            // The handshake has looked at it, and the connection may outlive it.
            expires_at: Some(rule.identity.expires_at.map_or(ends, |rule| rule.min(ends))),
            ..rule.identity.clone()
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use adulis_types::{CertificateName, Scope, Scopes};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn rule(pattern: &str, scope: Scope) -> CertificateRule {
        let scopes = Scopes::NONE.with(scope);
        CertificateRule {
            names: ModelPatterns::new([pattern]),
            identity: Identity::new("rule", IdentityKind::Certificate, scopes),
        }
    }

    #[test]
    fn the_first_rule_for_the_strongest_name_counts() {
        let rules = [
            rule("spiffe://example/ns/ml/*", Scope::Infer),
            rule("spiffe://example/*", Scope::Metadata),
        ];
        let certificate = |uri: &str| ClientCertificate {
            subject: "CN=spiffe://example/ns/ml/x".to_owned(),
            common_name: Some("spiffe://example/ns/ml/x".to_owned()),
            names: vec![CertificateName::Uri(uri.to_owned())],
            serial: "1".to_owned(),
            not_after: SystemTime::UNIX_EPOCH + DAY * 2,
        };
        let found = |uri: &str| CertificateRule::find(&rules, &certificate(uri));
        let infer = found("spiffe://example/ns/ml/a").unwrap();
        assert_eq!(
            (infer.name.as_str(), infer.kind),
            ("spiffe://example/ns/ml/a", IdentityKind::Certificate)
        );
        assert!(infer.may(Scope::Infer, Some("m")) && !infer.may(Scope::Metadata, None));
        assert!(found("spiffe://example/b").unwrap().may(Scope::Metadata, None));
        assert_eq!(infer.expires_at, Some(SystemTime::UNIX_EPOCH + DAY * 2), "with the certificate");
        // A weaker name does not help.
        assert!(found("spiffe://other/ns/ml/a").is_none());
    }

    #[test]
    fn an_identity_ends_with_its_rule_or_its_certificate_whichever_is_first() {
        let certificate = ClientCertificate {
            subject: String::new(),
            common_name: Some("a".to_owned()),
            names: Vec::new(),
            serial: String::new(),
            not_after: SystemTime::UNIX_EPOCH + DAY * 2,
        };
        for (rule_ends, days) in [(None, 2), (Some(1), 1), (Some(3), 2)] {
            let mut rule = rule("a", Scope::Infer);
            rule.identity.expires_at = rule_ends.map(|days| SystemTime::UNIX_EPOCH + DAY * days);
            let found = CertificateRule::find(&[rule], &certificate).unwrap();
            assert_eq!(found.expires_at, Some(SystemTime::UNIX_EPOCH + DAY * days), "{rule_ends:?}");
            assert!(found.is_expired(SystemTime::now()));
        }
    }
}
