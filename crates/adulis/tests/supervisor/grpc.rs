use std::error::Error;
use std::net::SocketAddr;

use adulis_protocol::grpc::ModelInferResponse;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;

use crate::client::Asked;
use crate::support::{INFER, byte_message, frame};

/// A client of gRPC over HTTP/2. Its connection is left when the server says GOAWAY.
pub(crate) struct GrpcClient {
    address: SocketAddr,
    sender: Option<http2::SendRequest<Full<Bytes>>>,
    byte: u8,
}

impl GrpcClient {
    pub(crate) fn new(address: SocketAddr, byte: u8) -> Self {
        Self { address, sender: None, byte }
    }

    /// One request. One that the connection gives back unsent, since it ends, goes out on a fresh one. So does one that the
    /// server has not taken, as it says with its GOAWAY: that is what RFC 9113, section 6.8 has clients do, and gRPC's libraries
    /// do it by themselves. Nothing else is asked twice.
    pub(crate) async fn ask(&mut self) -> Result<Asked, String> {
        let mut asked = Asked::Once;
        if let Some(mut sender) = self.sender.take() {
            match sender.try_send_request(self.request()).await {
                Ok(answer) => {
                    self.sender = Some(sender);
                    return self.check(answer).await.map(|()| asked);
                }
                Err(error) if error.message().is_some() => {}
                Err(error) if is_not_taken(error.error()) => asked = Asked::Again,
                Err(error) => return Err(format!("on a connection in use: {:?}", error.error())),
            }
        }
        let mut sender = self.connect().await.map_err(|error| format!("no fresh connection: {error}"))?;
        let answer = sender.send_request(self.request()).await;
        let answer = answer.map_err(|error| format!("on a fresh connection: {error:?}"))?;
        self.sender = Some(sender);
        self.check(answer).await.map(|()| asked)
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let message = frame(&byte_message("byte", self.byte).encode_to_vec());
        let request = Request::post(format!("http://test{INFER}"))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from(message)));
        request.unwrap()
    }

    async fn connect(&self) -> anyhow::Result<http2::SendRequest<Full<Bytes>>> {
        let stream = tokio::net::TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // It ends by itself, and requests on it are told.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn check(&self, answer: Response<Incoming>) -> Result<(), String> {
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| format!("amid an answer: {error}"))?;
        let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
        let is_ok = status.is_some_and(|status| status == "0");
        let bytes = body.to_bytes();
        // Behind the five bytes that frame it.
        let message = bytes.get(5..).and_then(|bytes| ModelInferResponse::decode(bytes).ok());
        let expected = Bytes::from(vec![self.byte]);
        match message {
            Some(message) if is_ok && message.raw_output_contents == [expected] => Ok(()),
            message => Err(format!("{head:?} {message:?}")),
        }
    }
}

/// Whether the server has said goodbye, without a fault, before it took the request.
fn is_not_taken(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
    })
}
