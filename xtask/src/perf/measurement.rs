//! The list of what is measured.

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

use super::series::Measured;
use super::workbench::{Workbench, build};
use super::{
    batching, cache, codec, copies, echo, forms, isolation, memory, overload, peer, pools, protection,
    resnet, start,
};
use crate::debian;
use crate::setup::{self, SetupArgs};

/// One measurement of one or more figures, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Measurement {
    /// Requests per second against a bare Axum handler.
    EchoRest,
    /// Requests per second against a bare tonic service.
    EchoGrpc,
    /// Latency added over a bare Axum handler.
    AddedLatency,
    /// CPU time of the MLP against a bare Axum handler's.
    Cpu,
    /// The MLP against FastAPI and ONNX Runtime in Python.
    Fastapi,
    /// The MLP with dynamic batching on against off.
    Batching,
    /// Answers that the response cache knows, against running the model.
    Cache,
    /// Executions that a thousand identical requests at once cause.
    CacheStampede,
    /// A shared tier that freezes, goes and comes back.
    CacheOutage,
    /// Batches of which half the rows are known, row by row against whole.
    CacheRows,
    /// The bound of the cache's memory over ten minutes of requests that come once.
    CacheMemory,
    /// Sizes of the pool of connections to Redis.
    PoolRedis,
    /// Sizes of the pool of connections to Memcached.
    PoolMemcached,
    /// Sizes of the pool of connections to PostgreSQL.
    PoolSql,
    /// Answers in time under up to ten times the load that a model can bear.
    Overload,
    /// A model in a worker process, against the server's own.
    Isolation,
    /// TLS, API keys and quotas against none of them.
    Protection,
    /// A long run against ONNX Runtime in the process.
    Resnet50,
    /// Decoding of JSON.
    Json,
    /// A request in every form, over the wire and through shared memory.
    Forms,
    /// Start with one model.
    Start,
    /// Start, threads and memory with more than a thousand models.
    ManyModels,
    /// Memory over a million requests.
    Memory,
    /// Copies of tensor bytes.
    Copies,
}

impl Measurement {
    /// As on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it measures, in a few words.
    pub(super) fn summary(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// Roughly how long it takes once everything is built.
    pub(super) fn seconds(self) -> u32 {
        match self {
            Self::CacheMemory => 630,
            Self::CacheOutage | Self::Overload => 300,
            Self::Batching | Self::Protection => 200,
            Self::CacheRows => 130,
            Self::PoolRedis | Self::PoolMemcached | Self::PoolSql => 100,
            Self::Resnet50 => 70,
            Self::Cache | Self::CacheStampede => 60,
            Self::Cpu | Self::Memory => 45,
            Self::Isolation => 80,
            Self::EchoRest | Self::EchoGrpc | Self::AddedLatency | Self::Fastapi => 40,
            Self::Json | Self::Forms => 30,
            Self::ManyModels => 15,
            Self::Start | Self::Copies => 5,
        }
    }

    /// False for what is measured without a server.
    fn needs_servers(self) -> bool {
        !matches!(self, Self::Json | Self::Copies)
    }

    /// Builds and fetches what it alone needs.
    fn prepare(self, bench: &Workbench) -> Result<()> {
        match self {
            Self::Json => codec::build(),
            Self::Copies => copies::build(),
            Self::Fastapi => peer::environment().map(drop),
            Self::Forms => forms::environment().map(drop),
            Self::ManyModels => start::node_tests(bench).map(drop),
            Self::CacheStampede | Self::CacheOutage | Self::PoolRedis => {
                debian::ensure("redis-server", "redis-server")
            }
            Self::PoolMemcached => debian::ensure("memcached", "memcached"),
            Self::PoolSql => debian::ensure_postgres(),
            Self::Resnet50 => build(&["--package", "adulis-onnx", "--example", resnet::EXAMPLE]),
            _ => Ok(()),
        }
    }

    /// Measures.
    ///
    /// # Errors
    /// A server doesn't start, a request fails, what it says can't be understood.
    pub(super) fn run(self, bench: &Workbench) -> Result<Measured> {
        let figures = match self {
            Self::CacheMemory => return cache::memory(bench),
            Self::PoolRedis => return pools::redis(bench),
            Self::PoolMemcached => return pools::memcached(bench),
            Self::PoolSql => return pools::sql(bench),
            Self::EchoRest => echo::rest_throughput(bench),
            Self::EchoGrpc => echo::grpc_throughput(bench),
            Self::AddedLatency => echo::added_latency(bench),
            Self::Cpu => echo::cpu(bench),
            Self::Fastapi => peer::run(bench),
            Self::Batching => batching::run(bench),
            Self::Cache => cache::run(bench),
            Self::CacheStampede => cache::stampedes(bench),
            Self::CacheOutage => cache::outages(bench),
            Self::CacheRows => cache::half_known(bench),
            Self::Overload => overload::run(bench),
            Self::Isolation => isolation::run(bench),
            Self::Protection => protection::run(bench),
            Self::Resnet50 => resnet::run(bench),
            Self::Json => codec::run(bench),
            Self::Forms => forms::run(bench),
            Self::Start => start::digits(bench),
            Self::ManyModels => start::many_models(bench),
            Self::Memory => memory::run(bench),
            Self::Copies => copies::run(),
        };
        Ok(figures?.into())
    }
}

/// Builds and fetches what these measurements need, so that nothing else runs while one of them measures. Each has a
/// result of its own: what one lacks doesn't keep the others from being taken.
pub(super) fn prepare(wanted: &[Measurement], bench: &Workbench) -> Vec<Result<()>> {
    let any = wanted.iter().any(|measurement| measurement.needs_servers());
    let servers = if any { servers() } else { Ok(()) };
    let prepare = |measurement: &Measurement| {
        if let (true, Err(why)) = (measurement.needs_servers(), &servers) {
            bail!("{why:#}");
        }
        measurement.prepare(bench)
    };
    wanted.iter().map(prepare).collect()
}

fn servers() -> Result<()> {
    build(&["--package", "adulis", "--package", "adulis-baseline"])?;
    // With another engine, or without the models, the figures would be of something else.
    let missing = setup::ensure(&SetupArgs::default())?;
    setup::report(&missing);
    ensure!(missing.is_empty(), "`cargo xtask setup` has to succeed first");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_has_a_name_and_says_what_it_is() {
        for measurement in Measurement::value_variants() {
            assert!(!measurement.summary().is_empty(), "{measurement:?}");
            assert_eq!(Measurement::from_str(&measurement.name(), false), Ok(*measurement));
        }
    }
}
