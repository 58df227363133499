use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
#[cfg(target_os = "linux")]
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::{RawConnection, RawResponse};

/// How long a server may take to do what a test waits for. Long, since many tests share few cores.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// The real binary, serving on free ports of the loopback interface in a process of its own, until it is dropped.
#[derive(Debug)]
pub struct TestServer {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Where the process runs: an `adulis.toml` of whoever runs the tests is not found there.
    _folder: TempDir,
}

/// A signal that asks a server to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM, as orchestrators send it.
    Terminate,
    /// SIGINT, as a terminal sends it.
    Interrupt,
}

impl TestServer {
    /// Runs `binary serve` with these arguments, on free ports where they name none, and with its log as JSON. It does not
    /// wait: see [`TestServer::ready`] and [`TestServer::exit`].
    ///
    /// # Errors
    /// As the system says.
    pub fn start<S: AsRef<OsStr>>(binary: &str, arguments: &[S]) -> io::Result<Self> {
        Self::start_as(binary, "serve", arguments)
    }

    /// The same with another subcommand that serves: `up`.
    ///
    /// # Errors
    /// As the system says.
    pub fn start_as<S: AsRef<OsStr>>(binary: &str, subcommand: &str, arguments: &[S]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"ADULIS_") {
                command.env_remove(name);
            }
        }
        command.args([subcommand, "--log-format", "json"]).args(arguments);
        for listener in ["--http", "--grpc", "--metrics"] {
            if !arguments.iter().any(|argument| argument.as_ref() == listener) {
                command.args([listener, "127.0.0.1:0"]);
            }
        }
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let log = Arc::<Mutex<Vec<String>>>::default();
        if let Some(stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let lines = BufReader::new(stderr).lines();
                lines.map_while(Result::ok).for_each(|line| log.lock().push(line));
            });
        }
        Ok(Self { child, log, _folder: folder })
    }

    /// What the server has written so far, log and complaints.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().join("\n")
    }

    /// Waits for a line in the log that contains all these texts, and returns it.
    ///
    /// # Panics
    /// After half a minute.
    pub async fn logged(&self, texts: &[&str]) -> String {
        self.wait(&format!("a line with {texts:?}"), async || {
            let log = self.log.lock();
            log.iter().find(|line| texts.iter().all(|text| line.contains(text))).cloned()
        })
        .await
    }

    /// Where the server listens: `http`, `grpc`, `metrics`, or `http+grpc` for a shared port.
    ///
    /// # Panics
    /// If it does not say so within half a minute.
    pub async fn address(&self, protocol: &str) -> SocketAddr {
        self.wait(&format!("the address of {protocol}"), async || {
            let log = self.log.lock();
            log.iter().find_map(|line| listening(line, protocol))
        })
        .await
    }

    /// Waits until the server says that it is ready.
    ///
    /// # Panics
    /// After half a minute.
    pub async fn ready(&self) -> &Self {
        let address = self.address("http").await;
        self.wait("readiness", async || {
            let answer = get(address, "/v2/health/ready").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        self
    }

    /// A connection to the REST port.
    ///
    /// # Errors
    /// As [`RawConnection::open`].
    pub async fn connect(&self) -> io::Result<RawConnection> {
        RawConnection::open(self.address("http").await).await
    }

    /// One GET on the REST port.
    ///
    /// # Errors
    /// As [`RawConnection::receive`].
    pub async fn get(&self, path: &str) -> io::Result<RawResponse> {
        self.get_on("http", path).await
    }

    /// One GET on the port of a protocol.
    ///
    /// # Errors
    /// As [`RawConnection::receive`].
    pub async fn get_on(&self, protocol: &str, path: &str) -> io::Result<RawResponse> {
        get(self.address(protocol).await, path).await
    }

    /// One POST on the REST port.
    ///
    /// # Errors
    /// As [`RawConnection::receive`].
    pub async fn post(&self, path: &str, body: &str) -> io::Result<RawResponse> {
        self.connect().await?.request(&format!("POST {path}"), &[], body.as_bytes()).await
    }

    /// One REST inference request with a JSON body.
    ///
    /// # Errors
    /// As [`RawConnection::receive`].
    pub async fn infer(&self, model: &str, headers: &[&str], body: &str) -> io::Result<RawResponse> {
        let line = format!("POST /v2/models/{model}/infer");
        self.connect().await?.request(&line, headers, body.as_bytes()).await
    }

    /// One REST inference request with one input of one dimension, its data in binary.
    ///
    /// # Errors
    /// As [`RawConnection::receive`].
    pub async fn infer_binary(
        &self,
        model: &str,
        (input, datatype): (&str, &str),
        data: &[u8],
    ) -> io::Result<RawResponse> {
        let shape = data.len();
        let head = format!(
            r#"{{"inputs":[{{"name":"{input}","datatype":"{datatype}","shape":[{shape}],"parameters":{{"binary_data_size":{shape}}}}}],"parameters":{{"binary_data_output":true}}}}"#
        );
        let line = format!("POST /v2/models/{model}/infer");
        let header = format!("inference-header-content-length: {}", head.len());
        let body = [head.as_bytes(), data].concat();
        self.connect().await?.request(&line, &[&header], &body).await
    }

    /// The sum of a metric's samples whose labels contain all of `labels`, written as `outcome="ok"`. 0 where there are none.
    ///
    /// # Errors
    /// As [`RawConnection::receive`].
    pub async fn metric(&self, name: &str, labels: &[&str]) -> io::Result<f64> {
        let text = self.get_on("metrics", "/metrics").await?.text();
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            let (found, value) = rest.rsplit_once(' ')?;
            labels.iter().all(|label| found.contains(label)).then(|| value.parse::<f64>().ok())?
        });
        Ok(samples.sum())
    }

    /// Waits until [`TestServer::metric`] is `expected`.
    ///
    /// # Panics
    /// After half a minute.
    pub async fn metric_reaches(&self, name: &str, labels: &[&str], expected: f64) {
        self.wait(&format!("{name} {labels:?} of {expected}"), async || {
            let value = self.metric(name, labels).await.ok()?;
            // Counts are whole numbers, which floats hold exactly.
            (value.to_bits() == expected.to_bits()).then_some(())
        })
        .await;
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// As the system says.
    pub fn signal(&self, signal: StopSignal) -> io::Result<()> {
        let signal = match signal {
            StopSignal::Terminate => Signal::TERM,
            StopSignal::Interrupt => Signal::INT,
        };
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// File descriptors that the process has open.
    ///
    /// # Errors
    /// As the system says.
    #[cfg(target_os = "linux")]
    pub fn open_files(&self) -> io::Result<u64> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?;
        u64::try_from(open.count()).map_err(io::Error::other)
    }

    /// Lets the process open no more than `count` file descriptors in all, from now on.
    ///
    /// # Errors
    /// As the system says.
    #[cfg(target_os = "linux")]
    pub fn limit_open_files(&self, count: u64) -> io::Result<()> {
        let limit = Rlimit { current: Some(count), maximum: Some(count) };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit)?;
        Ok(())
    }

    /// Lets no file that the process writes grow beyond `bytes`, from now on, or any size again: what a full disk does to it
    /// that has ignored SIGXFSZ.
    ///
    /// # Errors
    /// As the system says.
    #[cfg(target_os = "linux")]
    pub fn limit_file_size(&self, bytes: Option<u64>) -> io::Result<()> {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit)?;
        Ok(())
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    /// `TimedOut` where that takes longer than `patience`.
    pub async fn exit(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > patience {
                return Err(io::ErrorKind::TimedOut.into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits for what is asked again and again until it is there.
    ///
    /// # Panics
    /// After half a minute.
    pub async fn wait<T>(&self, what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = found().await {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}; the log is:\n{}", self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn get(address: SocketAddr, path: &str) -> io::Result<RawResponse> {
    RawConnection::open(address).await?.request(&format!("GET {path}"), &[], b"").await
}

fn listening(line: &str, protocol: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    // Fields may stand beside the message or in an object of their own.
    let fields = line.get("fields").unwrap_or(&line);
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let served = text("protocol")?;
    let said = text("message")? == "listening"
        && (served == protocol || served.split('+').any(|one| one == protocol));
    text("address").filter(|_| said)?.parse().ok()
}
