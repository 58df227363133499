use std::time::SystemTime;

/// What a client's certificate says of it, after its chain, dates and revocation were checked. Each request of such a
/// connection has it among its extensions, as an `Arc<ClientCertificate>`, over REST and gRPC alike; a request without one came
/// from a client that showed no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject as a distinguished name, such as `O=Example, CN=billing`.
    pub subject: String,
    /// The subject's common name.
    pub common_name: Option<String>,
    /// Its alternative names, in its own order; addresses and what has control characters left out.
    pub names: Vec<CertificateName>,
    /// Its serial number in hexadecimal, for logs.
    pub serial: String,
    /// When it runs out: the connection may live longer.
    pub not_after: SystemTime,
}

/// An alternative name of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateName {
    /// A URI, as SPIFFE identities are.
    Uri(String),
    /// A host.
    Dns(String),
    /// An e-mail address.
    Email(String),
}

impl ClientCertificate {
    /// Whom it names: its first URI, else its first host, else its first e-mail address, else the common name, which certificates
    /// of today have for people to read only.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        let first = |pick: fn(&CertificateName) -> Option<&str>| self.names.iter().find_map(pick);
        first(CertificateName::uri)
            .or_else(|| first(CertificateName::dns))
            .or_else(|| first(CertificateName::email))
            .or(self.common_name.as_deref())
    }
}

impl CertificateName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Uri(name) | Self::Dns(name) | Self::Email(name) => name,
        }
    }

    fn uri(&self) -> Option<&str> {
        matches!(self, Self::Uri(_)).then(|| self.as_str())
    }

    fn dns(&self) -> Option<&str> {
        matches!(self, Self::Dns(_)).then(|| self.as_str())
    }

    fn email(&self) -> Option<&str> {
        matches!(self, Self::Email(_)).then(|| self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: Vec<CertificateName>, common_name: Option<&str>) -> ClientCertificate {
        ClientCertificate {
            subject: String::new(),
            common_name: common_name.map(str::to_owned),
            names,
            serial: String::new(),
            not_after: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_strongest_name_is_the_identity() {
        let (uri, dns, email) = (
            CertificateName::Uri("spiffe://example/billing".into()),
            CertificateName::Dns("billing.example".into()),
            CertificateName::Email("billing@example".into()),
        );
        let all = vec![email.clone(), dns.clone(), uri];
        assert_eq!(certificate(all, Some("b")).identity(), Some("spiffe://example/billing"));
        assert_eq!(certificate(vec![email.clone(), dns], Some("b")).identity(), Some("billing.example"));
        assert_eq!(certificate(vec![email], Some("b")).identity(), Some("billing@example"));
        assert_eq!(certificate(Vec::new(), Some("b")).identity(), Some("b"));
        assert_eq!(certificate(Vec::new(), None).identity(), None);
    }
}
