//! Real servers: started, frozen, killed and started again by these tests. Where Redis or Memcached is not installed, they
//! fail and say so.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod load;
mod memcached;
mod operations;
mod redis;
mod tls;
mod topologies;
