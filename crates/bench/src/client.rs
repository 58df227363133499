use bytes::Bytes;

use crate::cached::CacheOutcome;
use crate::failure::Failure;
use crate::grpc::GrpcClient;
use crate::http1::Http1Client;

/// How the load generator names itself to servers.
pub(crate) const USER_AGENT: &str = concat!("adulis-bench/", env!("CARGO_PKG_VERSION"));

/// A good answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// Bytes received for it.
    pub(crate) received_bytes: usize,
    /// Length of its JSON part, where the answer said so.
    pub(crate) header_length: Option<usize>,
    /// What the server's response cache did, where the answer said so.
    pub(crate) cache: Option<CacheOutcome>,
    /// The body, or the gRPC message; empty unless it was asked for.
    pub(crate) body: Bytes,
}

/// Whether the body of a good answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is read and thrown away.
    Nothing,
    /// It is handed over.
    Body,
}

/// One place from which one request at a time is sent: an HTTP/1.1 connection, or one of the streams of an HTTP/2
/// connection.
pub(crate) enum Client {
    /// REST.
    Http1(Box<Http1Client>),
    /// gRPC.
    Grpc(Box<GrpcClient>),
}

impl Client {
    /// Sends one request, already in wire form, and reads the answer.
    ///
    /// Cancelling it, or its timeout, drops the connection or resets the stream.
    pub(crate) async fn call(&mut self, request: &Bytes, keep: Keep) -> Result<Answer, Failure> {
        match self {
            Client::Http1(client) => client.call(request, keep).await,
            Client::Grpc(client) => client.call(request, keep).await,
        }
    }
}
