//! What a certificate says, read from its DER.

use adulis_types::{CertificateName, ClientCertificate};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::expiry;

/// A certificate, if it is one.
pub(crate) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

/// What the certificate of a client says of it, in DER. `None` for what is no certificate.
///
/// Nothing is verified here: [`Acceptor`](crate::Acceptor) reads it after the handshake, which has verified its chain.
#[must_use]
pub fn client_certificate(der: &[u8]) -> Option<ClientCertificate> {
    let certificate = parse(der)?;
    let common_name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    Some(ClientCertificate {
        subject: printable(&certificate.subject().to_string()),
        common_name: common_name.filter(|name| is_plain(name)).map(str::to_owned),
        names: names(&certificate),
        serial: certificate.raw_serial_as_string(),
        not_after: expiry::moment(certificate.validity().not_after.timestamp()),
    })
}

/// The host names that a server's certificate is for.
pub(crate) fn hosts(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = names(certificate).into_iter();
    names
        .filter_map(|name| match name {
            CertificateName::Dns(name) => Some(name.to_ascii_lowercase()),
            CertificateName::Uri(_) | CertificateName::Email(_) => None,
        })
        .collect()
}

/// All of them. TLS has a certificate no longer than 64 KiB.
fn names(certificate: &X509Certificate<'_>) -> Vec<CertificateName> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(name) if is_plain(name) => Some(CertificateName::Uri((*name).to_owned())),
        GeneralName::DNSName(name) if is_plain(name) => Some(CertificateName::Dns((*name).to_owned())),
        GeneralName::RFC822Name(name) if is_plain(name) => Some(CertificateName::Email((*name).to_owned())),
        _ => None,
    });
    names.collect()
}

/// Whether a name could not be taken for another one, in a log or a rule.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::is_control)
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use adulis_testing::TestAuthority;

    use super::*;

    #[test]
    fn names_come_out_as_they_went_in() {
        let authority = TestAuthority::new();
        let client = authority.client("spiffe://example/billing");
        let said = client_certificate(&client.der()).unwrap();
        assert_eq!(said.identity(), Some("spiffe://example/billing"));
        assert_eq!(said.common_name.as_deref(), Some("client"));
        assert_eq!(said.subject, "CN=client");
        assert!(!said.serial.is_empty());
        let left = said.not_after.duration_since(SystemTime::now()).unwrap().as_secs();
        assert!((29 * 86_400..=30 * 86_400).contains(&left), "{left}");

        let server = authority.server(&["Example.COM", "*.example.com", "127.0.0.1"]);
        let der = server.der();
        assert_eq!(hosts(&parse(&der).unwrap()), ["example.com", "*.example.com"]);
        assert_eq!(parse(b"no certificate"), None);
    }

    #[test]
    fn a_certificate_may_be_for_any_number_of_hosts() {
        let expected: Vec<String> = (0..100).map(|number| format!("host-{number}.example")).collect();
        let names: Vec<&str> = expected.iter().map(String::as_str).collect();
        let der = TestAuthority::new().server(&names).der();
        assert_eq!(hosts(&parse(&der).unwrap()), expected);
    }

    #[test]
    fn control_characters_make_no_name() {
        assert!(!is_plain("a\nb") && !is_plain("a\0") && !is_plain("") && is_plain("a b"));
        assert_eq!(printable("CN=a\nb"), "CN=a\u{fffd}b");
    }
}
