use adulis_store::{StoreError, StoreUrl, Tables};
use adulis_testing::{PostgresServer, PostgresTls, TestAuthority, TestCertificate};
use sqlx::Row;
use tempfile::TempDir;

use crate::support::{direct, open};

/// A PostgreSQL that takes connections over TLS only, and what its clients need.
struct Secured {
    server: PostgresServer,
    authority: TestAuthority,
    folder: TempDir,
}

impl Secured {
    fn start(host: &str, asks_clients: bool) -> Self {
        let authority = TestAuthority::new();
        let certificate = authority.server(&[host]);
        let clients = asks_clients.then(|| authority.pem());
        let tls = PostgresTls {
            certificate: &certificate.pem(),
            key: &certificate.key_pem(),
            client_authority: clients.as_deref(),
        };
        let server = PostgresServer::start_with_tls(tls).expect("PostgreSQL starts");
        Self { server, authority, folder: tempfile::tempdir().unwrap() }
    }

    /// Its URL for a client that trusts an authority.
    fn url(&self, mode: &str, trusted: &TestAuthority) -> String {
        let roots = trusted.write(self.folder.path(), "roots.pem");
        format!("{}?sslmode={mode}&sslrootcert={}", self.server.url(), roots.display())
    }

    /// The same with a certificate of the client's own.
    fn url_as(&self, client: &TestCertificate) -> String {
        let (certificate, key) = client.write(self.folder.path(), "client");
        let own = format!("&sslcert={}&sslkey={}", certificate.display(), key.display());
        self.url("verify-full", &self.authority) + &own
    }
}

async fn ping(url: &str) -> Result<(), StoreError> {
    let database = open(&StoreUrl::parse(url).unwrap(), Tables::Made);
    let outcome = database.ping().await;
    let told = outcome.as_ref().err().map(ToString::to_string);
    assert_eq!(database.problem().map(String::from), told, "readiness tells the same");
    database.close().await;
    outcome
}

/// What is to be done about a connection that cannot be made.
async fn remedy(url: &str) -> &'static str {
    match ping(url).await.unwrap_err() {
        StoreError::Tls { remedy, .. } => remedy,
        other => panic!("{}", other.detail()),
    }
}

#[tokio::test]
async fn a_database_is_trusted_by_its_certificate() {
    let secured = Secured::start("127.0.0.1", false);
    let url = secured.url("verify-full", &secured.authority);
    ping(&url).await.unwrap();
    let select = "SELECT CAST(ssl AS TEXT) FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = sqlx::query(select)
        .fetch_one(&direct(&StoreUrl::parse(&url).unwrap()).await)
        .await
        .unwrap();
    assert_eq!(row.get::<String, _>(0), "true");
    // The system's authorities, and another one of the same name.
    let system = format!("{}?sslmode=verify-full", secured.server.url());
    assert!(remedy(&system).await.contains("sslrootcert=FILE"));
    let other = secured.url("verify-full", &TestAuthority::new());
    assert!(remedy(&other).await.contains("sslrootcert=FILE"));
    let plain = format!("{}?sslmode=disable", secured.server.url());
    assert!(remedy(&plain).await.contains("sslmode=verify-full"));
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_unless_asked() {
    let secured = Secured::start("db.example", false);
    let told = remedy(&secured.url("verify-full", &secured.authority)).await;
    assert!(told.contains("for another host"), "{told}");
    ping(&secured.url("verify-ca", &secured.authority)).await.unwrap();
}

#[tokio::test]
async fn a_database_asks_who_we_are() {
    let secured = Secured::start("127.0.0.1", true);
    let told = remedy(&secured.url("verify-full", &secured.authority)).await;
    assert!(told.contains("sslcert=FILE and sslkey=FILE"), "{told}");
    let stranger = TestAuthority::new().client("spiffe://shop/adulis");
    let told = remedy(&secured.url_as(&stranger)).await;
    assert!(told.contains("does not trust whoever signed our certificate"), "{told}");
    let known = secured.authority.client("spiffe://shop/adulis");
    ping(&secured.url_as(&known)).await.unwrap();
}

#[tokio::test]
async fn a_database_without_tls_is_told() {
    let server = PostgresServer::start().expect("PostgreSQL starts");
    let told = remedy(&format!("{}?sslmode=require", server.url())).await;
    assert!(told.contains("does not speak TLS"), "{told}");
}
