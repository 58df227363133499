//! Listening sockets that others have opened: systemd, or `adulis up`.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

/// Sockets that listen already, by the name of what they are for.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(String, TcpListener)>);

/// Names of the sockets of systemd's convention, with `:` between them.
const NAMES: &str = "LISTEN_FDNAMES";

impl Sockets {
    /// Those that were passed by systemd's convention (`LISTEN_FDS`), if any were. To be called once, before the process has
    /// threads: it takes what it reads out of the environment.
    ///
    /// A socket goes by its name (`FileDescriptorName=`) if that is `http`, `grpc`, `http+grpc`, `metrics`, `sagemaker` or
    /// `vertex_ai`, else by its address, which is to be the configured one.
    ///
    /// # Errors
    /// One of them is no socket that listens for TCP.
    ///
    /// Source: `sd_listen_fds(3)`.
    pub fn inherited() -> anyhow::Result<Self> {
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = listenfd::ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let taken = passed.take_tcp_listener(index);
            let taken = taken.with_context(|| format!("socket {index} of LISTEN_FDS cannot be served on"))?;
            let name = names.next().unwrap_or_default().to_owned();
            sockets.extend(taken.map(|socket| (name, socket)));
        }
        Ok(Self(sockets))
    }

    /// Sockets under their names.
    #[must_use]
    pub fn named(sockets: Vec<(String, TcpListener)>) -> Self {
        Self(sockets)
    }

    /// Takes the socket for what is called so and was to listen at `address`, if there is one. It does not block.
    ///
    /// # Errors
    /// As the system says.
    pub fn take(&mut self, name: &str, address: SocketAddr) -> std::io::Result<Option<TcpListener>> {
        let by_name = self.0.iter().position(|(named, _)| named == name);
        let here = |socket: &TcpListener| socket.local_addr().is_ok_and(|local| local == address);
        let by_address = || self.0.iter().position(|(_, socket)| here(socket));
        let Some(index) = by_name.or_else(by_address) else {
            return Ok(None);
        };
        let (_, socket) = self.0.remove(index);
        socket.set_nonblocking(true)?;
        Ok(Some(socket))
    }

    /// Closes those that nobody has taken, and says which.
    pub fn close_rest(&mut self) {
        for (name, socket) in self.0.drain(..) {
            let address = socket.local_addr().map_or_else(|_| "no address".to_owned(), |at| at.to_string());
            tracing::warn!(
                name,
                address,
                "a socket that was passed is for nothing that is served, and closed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn sockets_go_by_name_before_address() {
        let ((first, first_at), (second, second_at)) = (socket(), socket());
        let mut sockets = Sockets::named(vec![("odd".to_owned(), first), ("http".to_owned(), second)]);
        assert!(sockets.take("grpc", "127.0.0.1:1".parse().unwrap()).unwrap().is_none());
        let http = sockets.take("http", first_at).unwrap().unwrap();
        assert_eq!(http.local_addr().unwrap(), second_at);
        let grpc = sockets.take("grpc", first_at).unwrap().unwrap();
        assert_eq!(grpc.local_addr().unwrap(), first_at);
        assert!(sockets.0.is_empty());
    }
}
