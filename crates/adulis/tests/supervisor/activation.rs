//! Sockets that somebody else has opened, by systemd's convention.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adulis_testing::RawConnection;

use crate::repository;
use crate::support::{BINARY, byte_json};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the server as systemd does: the socket is descriptor 3, and the process is the one that variables name.
fn activated(socket: &TcpListener, subcommand: &str, names: &str, arguments: &[&str]) -> Ended {
    let script = format!(
        "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES={names}; exec \"$0\" {subcommand} \"$@\""
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, BINARY]).args(arguments);
    let passed = OwnedFd::from(socket.try_clone().unwrap());
    let child = command.stdin(Stdio::from(passed)).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ended(child.unwrap())
}

#[tokio::test]
async fn a_socket_of_systemd_is_served() {
    let repository = repository();
    let path = repository.path().to_str().unwrap();
    for (subcommand, names) in [("serve", "http"), ("serve", ""), ("up", "http")] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        // Without a name, a socket goes by its address.
        let configured = if names.is_empty() { address.to_string() } else { "127.0.0.1:1".to_owned() };
        let arguments = [path, "--http", &configured, "--grpc", "off", "--metrics", "off"];
        // It is connected to before anybody accepts.
        let mut connection = RawConnection::open(address).await.unwrap();
        let _server = activated(&socket, subcommand, names, &arguments);
        let ready = connection.request("GET /v2/health/live", &[], b"").await.unwrap();
        assert_eq!(ready.status, 200, "{}", ready.text());
        let begun = Instant::now();
        loop {
            let body = byte_json(5);
            let line = "POST /v2/models/byte/infer";
            let answer = connection.request(line, &[], body.as_bytes()).await.unwrap();
            if answer.status == 200 {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", answer.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
