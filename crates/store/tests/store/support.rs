use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis_store::{
    Database, DatabaseMetrics, LogOptions, LogPolicies, LogPolicy, PoolOptions, Store, StoreOptions,
    StoreUrl, Tables,
};
use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_testing::{PostgresServer, ScriptedService};
use adulis_types::{InferRequest, InferenceService, InputTensor, ModelRef};
use tempfile::TempDir;

/// Long, since many tests share few cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where cases have their databases: each one of its own.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(PostgresServer),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// # Panics
    /// If PostgreSQL is not installed: a test that needs it has not run then, and must not look as if it had.
    pub(crate) fn postgres() -> Self {
        Self::Postgres(PostgresServer::start().expect("PostgreSQL starts"))
    }

    /// An empty database.
    pub(crate) async fn database(&self, name: &str) -> StoreUrl {
        match self {
            Self::Sqlite(folder) => StoreUrl::sqlite(folder.path().join(format!("{name} é.db"))),
            Self::Postgres(server) => {
                sqlx::any::install_default_drivers();
                let admin = sqlx::AnyPool::connect(&server.url()).await.unwrap();
                let create = format!("CREATE DATABASE {name}");
                sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&admin).await.unwrap();
                admin.close().await;
                StoreUrl::parse(&server.url().replace("/postgres", &format!("/{name}"))).unwrap()
            }
        }
    }
}

/// A connection of the test's own.
pub(crate) async fn direct(url: &StoreUrl) -> sqlx::AnyPool {
    sqlx::any::install_default_drivers();
    let text = match url.path() {
        Some(path) => {
            format!(
                "sqlite:{}?mode=rwc",
                path.display().to_string().replace(' ', "%20").replace('é', "%C3%A9")
            )
        }
        None => url.to_string(),
    };
    sqlx::AnyPool::connect(&text).await.unwrap()
}

pub(crate) fn pool() -> PoolOptions {
    PoolOptions { acquire_timeout: Duration::from_secs(20), ..PoolOptions::default() }
}

/// A database of the tests' own, tables included.
pub(crate) fn open(url: &StoreUrl, tables: Tables) -> Arc<Database> {
    let metrics = DatabaseMetrics::register(&MetricRegistry::default());
    Database::open(url, tables, &pool(), &metrics).unwrap()
}

/// A policy that logs everything.
pub(crate) fn all() -> LogPolicy {
    LogPolicy { sample_rate: 1.0, ..LogPolicy::default() }
}

pub(crate) fn log(default: LogPolicy) -> LogOptions {
    LogOptions {
        policies: LogPolicies { default, ..LogPolicies::default() },
        flush_interval: Duration::from_millis(20),
        ..LogOptions::default()
    }
}

/// A store around a service that echoes.
pub(crate) struct Served {
    pub(crate) store: Arc<Store>,
    pub(crate) service: Arc<dyn InferenceService>,
    pub(crate) registry: MetricRegistry,
}

impl Served {
    pub(crate) fn new(url: &StoreUrl, log: Option<LogOptions>) -> Self {
        Self::with_pool(url, log, pool())
    }

    pub(crate) fn with_pool(url: &StoreUrl, log: Option<LogOptions>, pool: PoolOptions) -> Self {
        let registry = MetricRegistry::default();
        let metrics = DatabaseMetrics::register(&registry);
        // Written by the tests themselves.
        let usage_interval = Some(Duration::from_secs(3600));
        let options = StoreOptions { url: url.clone(), pool, usage_interval, log, lookup: false };
        let store = Store::open(options, &registry, &metrics).unwrap();
        let service = store.wrap(Arc::new(ScriptedService::default()));
        Self { store, service, registry }
    }

    /// Asks `echo` for bytes, with an id.
    pub(crate) async fn echo(&self, id: &str, data: &[u8]) {
        self.service.infer(request("echo", id, data)).await.unwrap();
    }

    pub(crate) async fn close(&self) {
        self.store.close(PATIENCE).await;
    }

    /// The value of a sample.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let text = self.registry.render(MetricsFormat::Text);
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a sample has reached a value.
    pub(crate) async fn metric_reaches(&self, sample: &str, least: f64) {
        let begun = Instant::now();
        while self.metric(sample) < least {
            let text = self.registry.render(MetricsFormat::Text);
            assert!(begun.elapsed() < PATIENCE, "{sample} did not reach {least}: {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) fn request(model: &str, id: &str, data: &[u8]) -> InferRequest {
    let mut request = InferRequest::new(ModelRef::latest(model));
    request.id = id.into();
    let shape = Shape::new(&[data.len()]);
    let tensor = Tensor::new(DataType::Uint8, shape, data.to_vec().into()).unwrap();
    request.inputs.push(InputTensor { name: "x".into(), tensor });
    request
}
