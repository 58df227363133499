use adulis_pool::{Health, PoolOptions, RedisPool, RedisTls};
use adulis_telemetry::{MetricRegistry, PoolMetrics};
use adulis_testing::{BackingServer, TestAuthority, TestCertificate, becomes, pool_options};
use tempfile::TempDir;

use crate::operations::every_operation_works;

/// A Redis that speaks TLS and nothing else.
struct Secured {
    redis: BackingServer,
    authority: TestAuthority,
    _folder: TempDir,
}

impl Secured {
    fn start(host: &str, asks_clients: bool) -> Self {
        let (authority, folder) = (TestAuthority::new(), tempfile::tempdir().unwrap());
        let (certificate, key) = authority.server(&[host]).write(folder.path(), "server");
        let roots = authority.write(folder.path(), "roots.pem");
        let redis = BackingServer::redis(&[
            "--port",
            "0",
            "--tls-port",
            "{port}",
            "--tls-cert-file",
            certificate.to_str().unwrap(),
            "--tls-key-file",
            key.to_str().unwrap(),
            "--tls-ca-cert-file",
            roots.to_str().unwrap(),
            "--tls-auth-clients",
            if asks_clients { "yes" } else { "no" },
        ]);
        Self { redis, authority, _folder: folder }
    }

    fn open(&self, scheme: &str, tls: RedisTls) -> RedisPool {
        open(&format!("{scheme}://{}", self.redis.address()), tls)
    }

    /// A client that trusts the server's authority.
    fn trusting(&self, client: Option<&TestCertificate>) -> RedisTls {
        trusting(&self.authority, client)
    }
}

fn trusting(authority: &TestAuthority, client: Option<&TestCertificate>) -> RedisTls {
    let client = client.map(|client| (client.pem().into_bytes(), client.key_pem().into_bytes()));
    RedisTls { roots: Some(authority.pem().into_bytes()), client }
}

fn open(url: &str, tls: RedisTls) -> RedisPool {
    let options: PoolOptions = pool_options();
    let metrics = PoolMetrics::register(&MetricRegistry::default());
    RedisPool::open("redis", (url.parse().unwrap(), tls), &options, &metrics).unwrap()
}

/// What is said of a server that no connection can be made to.
async fn told(pool: &RedisPool) -> String {
    becomes(Health::Down, || pool.status()).await;
    pool.status().last_error.unwrap()
}

#[tokio::test]
async fn a_server_is_trusted_by_its_certificate() {
    let secured = Secured::start("127.0.0.1", false);
    every_operation_works(&secured.open("rediss", secured.trusting(None))).await;
    // Another authority of the same name, and the system's.
    for tls in [trusting(&TestAuthority::new(), None), RedisTls::default()] {
        let told = told(&secured.open("rediss", tls)).await;
        assert!(told.contains("cannot be reached: invalid peer certificate"), "{told}");
        assert!(told.contains("name who has in ca_file"), "{told}");
    }
    told(&secured.open("redis", RedisTls::default())).await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let secured = Secured::start("cache.example", false);
    let told = told(&secured.open("rediss", secured.trusting(None))).await;
    assert!(told.contains("its certificate is for another host"), "{told}");
}

#[tokio::test]
async fn a_server_asks_who_we_are() {
    let secured = Secured::start("127.0.0.1", true);
    let own = secured.authority.client("spiffe://shop/adulis");
    every_operation_works(&secured.open("rediss", secured.trusting(Some(&own)))).await;
    let nobody = told(&secured.open("rediss", secured.trusting(None))).await;
    assert!(nobody.contains("set certificate_file and key_file"), "{nobody}");
    let stranger = TestAuthority::new().client("spiffe://shop/adulis");
    let stranger = told(&secured.open("rediss", secured.trusting(Some(&stranger)))).await;
    assert!(stranger.contains("does not trust whoever signed our certificate"), "{stranger}");
}

#[tokio::test]
async fn a_server_without_tls_is_told() {
    let redis = BackingServer::redis(&[]);
    let told = told(&open(&format!("rediss://{}", redis.address()), RedisTls::default())).await;
    assert!(told.contains("say redis:// in place of rediss://"), "{told}");
}
