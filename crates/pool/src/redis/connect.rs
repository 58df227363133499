use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisFuture, TlsCertificates, TlsMode, Value,
};

use super::error::{connect_error, pool_error};
use super::url::{Login, Mode};
use super::{RedisTls, RedisUrl};
use crate::multiplex::Connector;
use crate::{PoolError, PoolOptions};

/// How often a command is sent again that a server of a cluster did not answer, or answered with where its key is now. The
/// library counts both together, and without any it follows no key that has moved (MOVED, ASK): there is no smaller number that
/// serves.
const CLUSTER_RETRIES: u32 = 1;

/// A connection, shared by many operations: to one server, or to each of a cluster that was asked something yet.
#[derive(Clone)]
pub(super) enum Link {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Opens connections to what a URL leads to. A master that has moved is found anew with each.
pub(super) struct Dial {
    backend: Arc<str>,
    url: RedisUrl,
    certificates: Option<TlsCertificates>,
    connect_timeout: Duration,
    timeout: Duration,
    max_in_flight: usize,
}

impl Dial {
    pub(super) fn new(
        backend: Arc<str>,
        url: RedisUrl,
        tls: RedisTls,
        options: &PoolOptions,
    ) -> Result<Self, PoolError> {
        if url.tls {
            // Whoever embeds us may have chosen already; then that one holds.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let certificates = tls.certificates();
        if certificates.is_some() && !url.tls {
            let message =
                format!("{backend}: certificates are set, and its URL says no TLS: expected rediss://");
            return Err(PoolError::Setting(message));
        }
        let dial = Self {
            backend,
            url,
            certificates,
            connect_timeout: options.connect_timeout,
            timeout: options.timeout,
            max_in_flight: options.max_in_flight,
        };
        dial.validate()?;
        Ok(dial)
    }

    /// Whether connections spread over several servers, and find their way by themselves.
    pub(super) fn is_cluster(&self) -> bool {
        self.url.mode == Mode::Cluster
    }

    /// Lets the library look at addresses and certificates, which asks nobody.
    fn validate(&self) -> Result<(), PoolError> {
        let setting = |error: redis::RedisError| PoolError::Setting(format!("{}: {error}", self.backend));
        match self.url.mode {
            Mode::Single => self.client().map(drop).map_err(setting),
            Mode::Cluster => self.cluster().and_then(ClusterClientBuilder::build).map(drop).map_err(setting),
            Mode::Sentinel { .. } => {
                self.sentinel().and_then(SentinelClientBuilder::build).map(drop).map_err(setting)
            }
        }
    }

    fn address(&self, (host, port): &(String, u16)) -> ConnectionAddr {
        let (host, port) = (host.clone(), *port);
        if self.url.tls {
            return ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
        }
        ConnectionAddr::Tcp(host, port)
    }

    fn info(&self, node: &(String, u16)) -> Result<ConnectionInfo, redis::RedisError> {
        let mut settings = RedisConnectionInfo::default().set_db(self.url.database);
        let Login { user, password } = &self.url.login;
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        Ok(self.address(node).into_connection_info()?.set_redis_settings(settings))
    }

    fn client(&self) -> Result<Client, redis::RedisError> {
        let info = self.info(&self.url.nodes[0])?;
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    fn cluster(&self) -> Result<ClusterClientBuilder, redis::RedisError> {
        let nodes = self.url.nodes.iter().map(|node| self.info(node)).collect::<Result<Vec<_>, _>>()?;
        let mut builder = ClusterClientBuilder::new(nodes)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.timeout)
            .connection_concurrency_limit(self.max_in_flight)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(1)
            .max_retry_wait(10);
        if let Some(certificates) = &self.certificates {
            builder = builder.certs(certificates.clone());
        }
        Ok(builder)
    }

    fn sentinel(&self) -> Result<SentinelClientBuilder, redis::RedisError> {
        let Mode::Sentinel { master, login } = &self.url.mode else {
            return Err((redis::ErrorKind::InvalidClientConfig, "no Sentinel").into());
        };
        let nodes = self.url.nodes.iter().map(|node| self.address(node));
        let mut builder = SentinelClientBuilder::new(nodes, master, SentinelServerType::Master)?
            .set_client_to_redis_db(self.url.database);
        if self.url.tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        if let Some(user) = &self.url.login.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &self.url.login.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(user) = &login.user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = &login.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        Ok(builder)
    }

    async fn open(&self) -> Result<Link, redis::RedisError> {
        // How long answers may take is the pool's business.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(self.max_in_flight);
        Ok(match self.url.mode {
            Mode::Single => {
                Link::Server(self.client()?.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Mode::Cluster => Link::Cluster(self.cluster()?.build()?.get_async_connection().await?),
            Mode::Sentinel { .. } => {
                Link::Server(self.sentinel()?.build()?.get_async_connection_with_config(&config).await?)
            }
        })
    }
}

impl Connector for Dial {
    type Link = Link;

    async fn connect(&self) -> Result<Link, PoolError> {
        self.open().await.map_err(|error| connect_error((&self.backend, self.url.tls), &error))
    }

    async fn ping(&self, link: &Link) -> Result<(), PoolError> {
        let ping = redis::cmd("PING");
        let answer = match link.clone() {
            Link::Server(mut connection) => ping.query_async::<Value>(&mut connection).await,
            // All are asked, and one that answers is enough: a cluster that lost a server is of use still.
            Link::Cluster(mut connection) => {
                let any = (MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::OneSucceeded));
                connection.route_command(ping, RoutingInfo::MultiNode(any)).await
            }
        };
        answer.map(drop).map_err(|error| pool_error((&self.backend, self.timeout), &error))
    }
}
