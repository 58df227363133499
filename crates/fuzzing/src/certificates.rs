use std::fs;
use std::path::Path;

use adulis_telemetry::TlsMetrics;
use adulis_tls::development::DevelopmentFiles;
use adulis_tls::{
    AcceptorOptions, Alpn, CertificateFiles, ClientAuth, ServerTls, TlsOptions, client_certificate,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

/// Base64 of a line this long may be a piece of a key.
const KEY_PIECE_BYTES: usize = 24;

/// Certificates, keys, authorities and revocation lists: the first byte chooses which of the files that TLS is set up from the
/// rest is, as PEM or as what PEM holds, or that it is the certificate that a client shows. Whatever is said of a bad file holds
/// nothing of it, and no name that is read could be taken for another one in a log.
#[must_use]
pub fn certificates(input: &[u8]) -> bool {
    let Some((kind, rest)) = input.split_first() else {
        return false;
    };
    let der = |label: &str| pem(label, rest).into_bytes();
    BENCH.with(|bench| match kind % 9 {
        0 => bench.opens(File::Certificate, rest),
        1 => bench.opens(File::Key, rest),
        2 => bench.opens(File::Authority, rest),
        3 => bench.opens(File::RevocationList, rest),
        4 => bench.opens(File::Certificate, &der("CERTIFICATE")),
        5 => bench.opens(File::Key, &der("PRIVATE KEY")),
        6 => bench.opens(File::Authority, &der("CERTIFICATE")),
        7 => bench.opens(File::RevocationList, &der("X509 CRL")),
        _ => names(rest),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    Certificate,
    Key,
    Authority,
    RevocationList,
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

/// Files that are as they should be, but for one of them.
struct Bench {
    folder: TempDir,
    good: DevelopmentFiles,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for certificates can be made");
        let good = DevelopmentFiles::within(&folder.path().join("good"));
        good.make(&["localhost".to_owned()], "client").expect("certificates can be made");
        Self { folder, good }
    }

    /// Whether TLS can be set up when one file holds these bytes.
    fn opens(&self, file: File, bytes: &[u8]) -> bool {
        let bad = self.folder.path().join("file.pem");
        fs::write(&bad, bytes).expect("a file can be written");
        let place = |kind: File, good: &Path| if file == kind { bad.clone() } else { good.to_owned() };
        let lists = (file == File::RevocationList).then(|| bad.clone());
        let options = TlsOptions {
            certificates: vec![CertificateFiles {
                certificate: place(File::Certificate, &self.good.server),
                key: place(File::Key, &self.good.server_key),
            }],
            client_ca_files: vec![place(File::Authority, &self.good.ca)],
            client_crl_files: lists.into_iter().collect(),
            ..TlsOptions::default()
        };
        let acceptor = AcceptorOptions {
            listener: "fuzz",
            alpn: vec![Alpn::Http2, Alpn::Http1],
            client_auth: ClientAuth::Required,
        };
        let opened = ServerTls::open(options, TlsMetrics::default());
        match opened.and_then(|tls| tls.acceptor(acceptor)) {
            Ok(_) => true,
            Err(error) => {
                let told = error.to_string();
                assert!(!told.is_empty());
                let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| is_key_piece(line));
                assert!(
                    !lines.any(|line| told.as_bytes().windows(line.len()).any(|window| window == line)),
                    "{told}"
                );
                false
            }
        }
    }
}

fn is_key_piece(line: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    line.len() >= KEY_PIECE_BYTES && line.iter().all(is_base64)
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn names(der: &[u8]) -> bool {
    let Some(client) = client_certificate(der) else {
        return false;
    };
    let names = client.names.iter().map(|name| name.as_str()).chain(client.common_name.as_deref());
    for name in names {
        assert!(!name.is_empty() && !name.contains(char::is_control), "{name:?}");
    }
    assert!(
        !client.subject.contains(char::is_control) && !client.serial.contains(char::is_control),
        "{client:?}"
    );
    true
}
