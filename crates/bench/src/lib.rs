//! Load generator for inference servers that speak the Open Inference Protocol: closed and open loops over REST and
//! gRPC, windows that must agree, HDR latency percentiles, the server's own view, and two servers compared.
//!
//! [`BenchArgs`] are the command line, [`run`] does it. Each sending thread has a runtime, connections and counters of
//! its own; requests are serialised once, before the load begins, and answers are not decoded unless asked. Arrivals,
//! stability and percentiles are plain state machines. There is no server here.
//!
//! [`cache`](cache()) looks at a server's response cache, or purges it, with the same clients.
//!
//! [`probe`](probe()) asks a single question with the same clients: whether a server is ready, for health checks.
//!
//! Invariants:
//! - The latency of an open loop counts from the time at which a request was meant to be sent; a time is sent late where
//!   it must, and never left out.
//! - Failed requests are counted by kind and have no part in latencies or throughput.

mod api_key;
mod args;
mod cache;
mod cached;
mod client;
mod codec;
mod connect;
mod cpu;
mod data;
mod deck;
mod failure;
mod fleet;
mod gate;
mod grpc;
mod http1;
mod idle;
mod lane;
mod load;
mod measure;
mod metadata;
mod pacer;
mod probe;
mod progress;
mod report;
mod run;
mod schedule;
mod server_metrics;
mod stability;
mod tally;
mod target;
mod timer;
mod verify;

pub use api_key::{ApiKey, ApiKeyArgs};
pub use args::BenchArgs;
pub use cache::{CacheAction, CacheArgs, CacheServer, cache};
pub use cached::CacheReport;
pub use connect::TlsArgs;
pub use data::{DataSource, InputSpec, ShapeOverride};
pub use load::{Load, Sweep, SweepError};
pub use probe::{ProbeArgs, probe};
pub use report::{
    Comparison, FailureReport, IdleReport, LatencyReport, LevelReport, Pair, Ratio, Report, StageReport,
    WindowReport,
};
pub use run::{Outcome, run};
pub use schedule::{Arrivals, Distribution};
pub use stability::{Stability, Verdict, WindowFigures};
pub use target::{Protocol, Target};
