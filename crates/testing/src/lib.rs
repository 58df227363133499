//! Test services, servers, clients and fixtures for the workspace's tests.
//!
//! [`ScriptedService`] stands in for the engine where a frontend is tested by itself, [`ScriptedLog`] for the log,
//! [`ScriptedAccess`] for who may do what, [`GuardedServices`] for all of these together; [`TestServer`] is the real binary in a
//! process of its own, over the models of a [`TestRepository`]; [`RawConnection`] says to a server exactly the bytes that a test
//! wants said, slowly or cut short, as no well-behaved client would; [`SharedObject`] is shared memory of a client on the same
//! machine; [`TestAuthority`] signs certificates; [`BackingServer`] is a real Redis or Memcached, to be frozen and killed, with
//! [`pool_options`] for pools over it, and [`PostgresServer`] a database; [`TestHeaders`] are the headers of a request that
//! nobody sent; [`TestClock`] is a wall clock that jumps; [`S3Server`] is object storage, with faults on demand; [`RPCS`] are the
//! names of all RPCs.

mod authority;
mod backing;
mod clock;
mod headers;
mod metric;
mod open_files;
mod pools;
mod postgres;
mod process;
mod raw;
mod repository;
mod rpcs;
mod s3_server;
mod scripted;
mod scripted_access;
mod scripted_log;
mod server;
mod shared_object;

pub use authority::{TestAuthority, TestCertificate, TestTlsClient, tls_connect};
pub use backing::{BackingServer, RedisCluster, RedisSentinel};
pub use clock::TestClock;
pub use headers::TestHeaders;
pub use metric::metric;
#[cfg(target_os = "linux")]
pub use open_files::allow_open_files;
pub use pools::{POOL_TIMEOUT, becomes, pool_options, redis_pool, until};
pub use postgres::{PostgresServer, PostgresTls};
pub use process::{ProcessSignal, children, is_alive, send_signal};
pub use raw::{RawConnection, RawResponse, RawStream};
pub use repository::{IdentityModel, TestRepository};
pub use rpcs::RPCS;
pub use s3_server::{S3Server, Trouble};
pub use scripted::{Calls, ScriptedService};
pub use scripted_access::{GuardedServices, ScriptedAccess, bearer};
pub use scripted_log::ScriptedLog;
pub use server::{StopSignal, TestServer};
pub use shared_object::SharedObject;
