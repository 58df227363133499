//! TLS and CORS.

use adulis_tls::ClientAuth;

use super::super::Config;
use super::{load, told};

#[test]
fn listeners_speak_tls_as_they_are_told() {
    let plain = load("[tls]\nhttp.client_auth = 'off'", &[]).config.tls;
    assert_eq!(plain.options(), None, "without a certificate there is no TLS");
    let file = r#"
        [tls]
        client_ca_files = ["ca.pem"]
        client_auth = "required"
        grpc.client_auth = "off"
        metrics.enabled = false
    "#;
    let variables = [
        ("ADULIS_TLS_CERTIFICATE_FILES", "a.pem:b.pem"),
        ("ADULIS_TLS_KEY_FILES", "a:b"),
    ];
    let tls = load(file, &variables).config.tls;
    let options = tls.options().unwrap();
    let pairs: Vec<_> = options.certificates.iter().map(|pair| (&pair.certificate, &pair.key)).collect();
    assert_eq!(pairs, [(&"a.pem".into(), &"a".into()), (&"b.pem".into(), &"b".into())]);
    let auths = [tls.http, tls.grpc, tls.metrics].map(|listener| tls.of(listener));
    assert_eq!(auths, [Some(ClientAuth::Required), Some(ClientAuth::Off), None]);
}

#[test]
fn tls_settings_that_do_not_go_together() {
    let with = "certificate_files = ['a']\nkey_files = ['a']";
    for (settings, message) in [
        (
            "certificate_files = ['a', 'b']\nkey_files = ['a']",
            "adulis.toml: line 3: tls.key_files: there are 1 keys for 2 certificates; name one for each, in the same order",
        ),
        (
            &format!("{with}\nclient_auth = 'optional'"),
            "adulis.toml: line 4: tls.client_auth: clients are to show certificates, and nothing says which authorities are \
             trusted; set tls.client_ca_files",
        ),
        (
            &format!("{with}\nclient_ca_files = ['c']"),
            "adulis.toml: line 4: tls.client_ca_files: is set, and no listener asks clients for certificates; set \
             tls.client_auth = \"required\"",
        ),
        (
            "client_crl_files = ['c']",
            "adulis.toml: line 2: tls.client_crl_files: is set without tls.client_ca_files",
        ),
        (
            "min_version = 'SSLv3'",
            "adulis.toml: line 2: tls.min_version: expected one of 1.2, 1.3, got \"SSLv3\"",
        ),
        (
            "grpc = { client_auth = 'maybe' }",
            "adulis.toml: line 2: tls.grpc.client_auth: expected one of off, optional, required, got \"maybe\"",
        ),
        (
            "grpc = { enabled = false }\n[server]\nhttp = ':1'\ngrpc = ':1'",
            "adulis.toml: line 2: tls.grpc: REST and gRPC share a port, and tls.http says otherwise; say the same for both",
        ),
    ] {
        assert_eq!(told(&format!("[tls]\n{settings}"), &[]), message);
    }
}

#[test]
fn origins_are_origins() {
    assert_eq!(Config::default().server.cors.options(), None);
    let all = load("", &[("ADULIS_CORS_ORIGINS", "*")]).config.server.cors.options().unwrap();
    assert_eq!(all.origins, adulis_http::CorsOrigins::Any);
    let told = told("[server.cors]\norigins = ['*', 'app.example', 'https://a/b']\nheaders = ['a b']", &[]);
    assert_eq!(
        told,
        "adulis.toml: line 2: server.cors.origins[0]: is all origins: others beside it say nothing\n\
         adulis.toml: line 2: server.cors.origins[1]: \"app.example\" is no origin; for example \"https://app.example\"\n\
         adulis.toml: line 2: server.cors.origins[2]: \"https://a/b\" is no origin; for example \"https://app.example\"\n\
         adulis.toml: line 3: server.cors.headers[0]: \"a b\" is no name of a header"
    );
}
