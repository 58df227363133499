use std::io::ErrorKind;
use std::net::SocketAddr;

use adulis_testing::{RawConnection, RawResponse};

use crate::client::Asked;
use crate::support::byte_json;

/// A client of REST over HTTP/1.1. Every fourth begins each request on a connection of its own.
pub(crate) struct RestClient {
    address: SocketAddr,
    connection: Option<RawConnection>,
    byte: u8,
}

impl RestClient {
    pub(crate) fn new(address: SocketAddr, byte: u8) -> Self {
        Self { address, connection: None, byte }
    }

    /// One request. A connection that was used before and is closed before the first byte of an answer is no failure, but
    /// counted: the client asks again on a fresh one, once. It may, since asking for an inference twice does no harm (RFC 9110,
    /// section 9.2.2).
    pub(crate) async fn ask(&mut self) -> Result<Asked, String> {
        let Some(mut connection) = self.connection.take() else {
            let answer = self.afresh().await?;
            return self.check(&answer, Asked::Once);
        };
        match self.on(&mut connection).await {
            Ok(answer) => {
                self.keep(connection, &answer);
                self.check(&answer, Asked::Once)
            }
            Err(error) if is_closed(&error) && !connection.is_amid_response() => {
                let answer = self.afresh().await?;
                self.check(&answer, Asked::Again)
            }
            Err(error) => Err(format!("on a connection in use: {error}")),
        }
    }

    fn check(&self, answer: &RawResponse, asked: Asked) -> Result<Asked, String> {
        let expected = format!("[{}]", self.byte);
        if answer.status == 200 && answer.text().contains(&expected) {
            return Ok(asked);
        }
        Err(format!("{} {}", answer.status, answer.text()))
    }

    async fn afresh(&mut self) -> Result<RawResponse, String> {
        let failed = |error: std::io::Error| format!("on a fresh connection: {error}");
        let mut connection = RawConnection::open(self.address).await.map_err(failed)?;
        let answer = self.on(&mut connection).await.map_err(failed)?;
        self.keep(connection, &answer);
        Ok(answer)
    }

    async fn on(&mut self, connection: &mut RawConnection) -> std::io::Result<RawResponse> {
        let body = byte_json(self.byte);
        connection.request("POST /v2/models/byte/infer", &[], body.as_bytes()).await
    }

    fn keep(&mut self, connection: RawConnection, answer: &RawResponse) {
        let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.connection = (!closes && !self.byte.is_multiple_of(4)).then_some(connection);
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
