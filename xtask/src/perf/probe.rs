//! What is asked of a running server: its answers to a GET, its memory and threads.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// How long a server may take to accept a connection or to send a piece of an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer that is read.
const ANSWER_LIMIT_BYTES: u64 = 16 << 20;

/// Status and body of a GET.
///
/// # Errors
/// Nobody listens there, or what comes is no HTTP.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Version 1.0: the end of the answer is the end of the connection, and no part of it is chunked.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT_BYTES).read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no end of its head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("the answer has no status")?, body.to_owned()))
}

/// Sum of a metric's samples whose labels include all of `labels` (`name="value"`).
pub(super) fn metric_sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let of_metric = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    let value = |line: &str| line.rsplit_once(' ')?.1.parse::<f64>().ok();
    text.lines().filter(of_metric).filter_map(value).sum()
}

/// Memory and threads of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Footprint {
    /// Resident memory.
    pub(super) resident_mib: f64,
    pub(super) threads: f64,
}

impl Footprint {
    /// Of a process on this machine.
    ///
    /// # Errors
    /// There is no such process, or no `/proc`.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&text).with_context(|| format!("cannot understand {path}"))
    }

    fn parse(status: &str) -> Option<Self> {
        let number = |name: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            rest.split_ascii_whitespace().next()?.parse::<f64>().ok()
        };
        Some(Self { resident_mib: number("VmRSS")? / 1024.0, threads: number("Threads")? })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn status_and_body_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.0 503 Busy\r\nA: b\r\n\r\nnot ready").unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        assert_eq!(get(address, "/v2/health/ready").unwrap(), (503, "not ready".to_owned()));
        assert!(server.join().unwrap().starts_with("GET /v2/health/ready HTTP/1.0\r\n"));
        assert!(get(address, "/").is_err(), "nobody listens any more");
    }

    #[test]
    fn samples_of_one_metric_are_added() {
        let text = "# TYPE a counter\na_total{model=\"m\",outcome=\"ok\"} 3\na_total{model=\"n\",outcome=\"ok\"} 4\n\
                    a_total{model=\"m\",outcome=\"internal\"} 1\na_total_more 9\nb_total 2\n";
        assert_eq!(metric_sum(text, "a_total", &[]), 8.0);
        assert_eq!(metric_sum(text, "a_total", &["outcome=\"ok\""]), 7.0);
        assert_eq!(metric_sum(text, "a_total", &["model=\"m\"", "outcome=\"ok\""]), 3.0);
        assert_eq!(metric_sum(text, "b_total", &[]), 2.0);
        assert_eq!(metric_sum(text, "c_total", &[]), 0.0);
    }

    #[test]
    fn memory_and_threads_come_from_the_status_file() {
        let text = "Name:\tx\nVmRSS:\t   51200 kB\nRssAnon:\t 1 kB\nThreads:\t7\n";
        let found = Footprint::parse(text);
        assert_eq!(found, Some(Footprint { resident_mib: 50.0, threads: 7.0 }));
        assert_eq!(Footprint::parse("Name: x"), None);
        assert!(Footprint::of(std::process::id()).unwrap().resident_mib > 0.0);
    }
}
