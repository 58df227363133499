//! `adulis cert`: certificates to develop with.

use std::fmt::Write as _;

use adulis_tls::development::{DevelopmentError, DevelopmentFiles};

use crate::cli::DevArgs;

/// Makes an authority, a server's certificate and a client's. Gives what is to be said: where they are, and how they are used.
///
/// # Errors
/// [`DevelopmentError`]: nothing is written over.
pub fn dev(args: &DevArgs) -> Result<String, DevelopmentError> {
    let files = DevelopmentFiles::within(&args.out);
    files.make(&args.names, &args.client)?;
    let mut told = String::new();
    let DevelopmentFiles { ca, ca_key, server, server_key, client, client_key } = &files;
    for (what, certificate, key) in [
        ("authority", ca, ca_key),
        ("server", server, server_key),
        ("client", client, client_key),
    ] {
        let _ = writeln!(told, "{what:<10}{}  {}", certificate.display(), key.display());
    }
    let host = args.names.first().map_or("localhost", String::as_str);
    let _ = write!(
        told,
        "\nFor development only: whoever has the authority's key can pose as any server to those who trust it.\n\n\
         adulis serve MODELS --tls-cert {} --tls-key {}\n\
         curl --cacert {} https://{host}:8000/v2/health/ready\n\n\
         With client certificates, add --tls-client-ca {} --tls-client-auth required, and for curl\n\
         --cert {} --key {}\n",
        server.display(),
        server_key.display(),
        ca.display(),
        ca.display(),
        client.display(),
        client_key.display(),
    );
    Ok(told)
}
