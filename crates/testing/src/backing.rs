use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::TestClock;

/// How long a server may take to start. Long, since many tests share few cores.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

const REDIS: &str = "redis-server";

/// Ports that are tried.
const TRIES: usize = 20;

/// The bus port of a Redis Cluster is so far above the server's own.
const BUS: u16 = 10_000;

/// A real Redis or Memcached on a free port of the loopback interface, in a process of its own, until it is dropped. It can be
/// frozen, killed and started again on the same port.
#[derive(Debug)]
pub struct BackingServer {
    launch: Launch,
    child: Child,
    port: u16,
    folder: TempDir,
}

/// How a server is started.
#[derive(Debug, Clone)]
struct Launch {
    program: &'static str,
    /// `{port}` and `{folder}` stand for its own.
    arguments: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
}

impl Launch {
    fn new<'a>(program: &'static str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Self { program, arguments, environment: Vec::new() }
    }

    fn redis(arguments: &[&str]) -> Self {
        let own = ["--port", "{port}", "--bind", "127.0.0.1", "--save", ""];
        let own = own.into_iter().chain(["--appendonly", "no", "--dir", "{folder}"]);
        Self::new(REDIS, own.chain(arguments.iter().copied()))
    }

    fn spawn(&self, port: u16, folder: &Path) -> io::Result<Child> {
        let (port, place) = (port.to_string(), folder.display().to_string());
        let filled = |argument: &String| argument.replace("{port}", &port).replace("{folder}", &place);
        Command::new(self.program)
            .args(self.arguments.iter().map(filled))
            .envs(self.environment.iter().cloned())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}

impl BackingServer {
    /// A Redis server that keeps nothing on disk, with these arguments beside.
    ///
    /// # Panics
    /// If Redis is not installed, or does not start: a test that needs it has not run then, and must not look as if it had.
    #[must_use]
    pub fn redis(arguments: &[&str]) -> Self {
        Self::start(&Launch::redis(arguments))
    }

    /// A Redis server that tells the time by this clock.
    ///
    /// # Panics
    /// As [`BackingServer::redis`].
    #[must_use]
    pub fn redis_by(clock: &TestClock) -> Self {
        Self::start(&Launch { environment: clock.environment_of_redis(), ..Launch::redis(&[]) })
    }

    /// A Redis Sentinel with this configuration beside its port.
    ///
    /// # Panics
    /// As [`BackingServer::redis`].
    #[must_use]
    pub fn sentinel(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, configuration).expect("a file");
        let file = file.display().to_string();
        let own = [
            file.as_str(),
            "--sentinel",
            "--port",
            "{port}",
            "--bind",
            "127.0.0.1",
        ];
        Self::start_in(folder, &Launch::new(REDIS, own))
    }

    /// A Memcached server, with these arguments beside.
    ///
    /// # Panics
    /// If Memcached is not installed, or does not start.
    #[must_use]
    pub fn memcached(arguments: &[&str]) -> Self {
        let is_root = rustix::process::getuid().is_root();
        let own = ["-l", "127.0.0.1", "-p", "{port}", "-U", "0"].into_iter();
        let own = own.chain(is_root.then_some(["-u", "root"]).into_iter().flatten());
        Self::start(&Launch::new("memcached", own.chain(arguments.iter().copied())))
    }

    fn start(launch: &Launch) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), launch)
    }

    /// Somebody else may take the port that was found free; then another one is tried.
    fn start_in(mut folder: TempDir, launch: &Launch) -> Self {
        let program = launch.program;
        for _ in 0..TRIES {
            let port = free_port();
            let child = launch.spawn(port, folder.path());
            // Debian's packages are called as the programs are.
            assert!(
                child.is_ok(),
                "{program} cannot be started, and this test needs it: `apt-get install {program}`, or \
                 `cargo xtask test`, which installs it ({child:?})"
            );
            let child = child.expect("invariant: it was looked at just now");
            let mut server = Self { launch: launch.clone(), child, port, folder };
            if server.wait() {
                return server;
            }
            folder = std::mem::replace(&mut server.folder, tempfile::tempdir().expect("a folder"));
        }
        unreachable!("{program} did not start on any of {TRIES} ports");
    }

    /// True if it listens; false if it has ended.
    fn wait(&mut self) -> bool {
        let begun = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return false;
            }
            assert!(begun.elapsed() < PATIENCE, "{} does not listen", self.launch.program);
            thread::sleep(PAUSE);
        }
        true
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Stops the process without ending it: it accepts connections, and answers nothing.
    ///
    /// # Panics
    /// If it has ended.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If it has ended.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it at once: connections break, and none are accepted.
    ///
    /// # Panics
    /// If it has ended.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a process that was killed");
    }

    /// Starts it again on the same port, empty, after [`BackingServer::kill`].
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.child = self.launch.spawn(self.port, self.folder.path()).expect("a program that is there");
        assert!(self.wait(), "{} does not start again on port {}", self.launch.program, self.port);
    }

    /// What `redis-cli` says to these arguments.
    ///
    /// # Panics
    /// If it can't be run.
    pub fn redis_cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output();
        let output = output.expect("redis-cli, which comes with redis-server");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process that runs");
    }
}

impl Drop for BackingServer {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has, whose bus port nobody has either.
fn free_port() -> u16 {
    loop {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let port = bind(0).and_then(|listener| listener.local_addr()).map_or(0, |address| address.port());
        let bus = port.checked_add(BUS);
        if port != 0 && bus.is_some_and(|bus| bind(bus).is_ok()) {
            return port;
        }
    }
}

/// A Redis Cluster of three servers, each with a third of the slots and no replica.
#[derive(Debug)]
pub struct RedisCluster {
    /// The servers.
    pub nodes: Vec<BackingServer>,
}

impl RedisCluster {
    /// Starts it, and waits until every server says that the cluster is well.
    ///
    /// # Panics
    /// As [`BackingServer::redis`].
    #[must_use]
    pub fn start() -> Self {
        let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let partial = [
            "--cluster-require-full-coverage",
            "no",
            "--cluster-config-file",
            "nodes.conf",
        ];
        let arguments = [arguments, partial].concat();
        let nodes: Vec<_> = (0..3).map(|_| BackingServer::redis(&arguments)).collect();
        for (node, slots) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            node.redis_cli(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
        }
        for node in &nodes[1..] {
            nodes[0].redis_cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string()]);
        }
        let cluster = Self { nodes };
        cluster.wait();
        cluster
    }

    /// Waits until every server says that the cluster is well and knows all of it.
    ///
    /// # Panics
    /// After half a minute.
    pub fn wait(&self) {
        let begun = Instant::now();
        // A server that has not been told yet whose the other slots are says that all is well, too.
        let signs = [
            "cluster_state:ok",
            "cluster_known_nodes:3",
            "cluster_slots_ok:16384",
        ];
        let is_well = |node: &BackingServer| {
            let told = node.redis_cli(&["CLUSTER", "INFO"]);
            signs.iter().all(|sign| told.contains(sign))
        };
        while !self.nodes.iter().all(is_well) {
            assert!(begun.elapsed() < PATIENCE, "the cluster does not come together");
            thread::sleep(PAUSE);
        }
    }

    /// `host:port` of each, separated by commas.
    #[must_use]
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        addresses.join(",")
    }
}

/// A Redis master with a replica, and a Sentinel that makes the replica the master when the master is gone for a second.
#[derive(Debug)]
pub struct RedisSentinel {
    /// The master at the start, named `mymaster`.
    pub master: BackingServer,
    /// Its replica.
    pub replica: BackingServer,
    /// The Sentinel.
    pub sentinel: BackingServer,
}

impl RedisSentinel {
    /// Starts them, and waits until the Sentinel knows both.
    ///
    /// # Panics
    /// As [`BackingServer::redis`].
    #[must_use]
    pub fn start() -> Self {
        let master = BackingServer::redis(&[]);
        let port = master.port.to_string();
        let replica = BackingServer::redis(&["--replicaof", &format!("127.0.0.1 {port}")]);
        let sentinel = BackingServer::sentinel(&format!(
            "sentinel monitor mymaster 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds mymaster 1000\n\
             sentinel failover-timeout mymaster 3000\n"
        ));
        let begun = Instant::now();
        let knows = || {
            let replicas = sentinel.redis_cli(&["SENTINEL", "REPLICAS", "mymaster"]);
            let is_linked = replicas.contains("master-link-status\nok");
            is_linked && replicas.contains(&replica.port.to_string())
        };
        while !knows() {
            assert!(begun.elapsed() < PATIENCE, "the Sentinel does not find the replica");
            thread::sleep(PAUSE);
        }
        Self { master, replica, sentinel }
    }
}
