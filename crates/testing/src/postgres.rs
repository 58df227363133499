use std::ffi::OsStr;
use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

/// How long a server may take to start or stop. Long, since many tests share few cores.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// Where Debian keeps the programs, by version, newest first where there are several.
const DEBIAN: &str = "/usr/lib/postgresql";

/// TLS of a server, all in PEM.
#[derive(Debug, Clone, Copy)]
pub struct PostgresTls<'a> {
    /// Its certificate.
    pub certificate: &'a str,
    /// The certificate's key.
    pub key: &'a str,
    /// Who must have signed the certificates of clients; `None`: they need none.
    pub client_authority: Option<&'a str>,
}

/// A real PostgreSQL server on a free port of the loopback interface, over a folder of its own, until it is dropped. It trusts
/// whoever connects.
#[derive(Debug)]
pub struct PostgresServer {
    programs: PathBuf,
    folder: TempDir,
    /// As whom it runs: it refuses to run as root.
    user: Option<(u32, u32)>,
    port: u16,
    has_tls: bool,
    child: Option<Child>,
}

impl PostgresServer {
    /// Makes a database cluster and starts a server for it.
    ///
    /// # Errors
    /// As the system says; PostgreSQL is not installed.
    pub fn start() -> io::Result<Self> {
        let mut server = Self::made()?;
        server.resume()?;
        Ok(server)
    }

    /// The same, for a server that refuses connections without TLS.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_with_tls(tls: PostgresTls<'_>) -> io::Result<Self> {
        let mut server = Self::made()?;
        server.put("server.crt", tls.certificate)?;
        server.put("server.key", tls.key)?;
        let clients = match tls.client_authority {
            Some(authority) => {
                server.put("root.crt", authority)?;
                " clientcert=verify-ca"
            }
            None => "",
        };
        server.put("pg_hba.conf", &format!("hostssl all all 127.0.0.1/32 trust{clients}\n"))?;
        server.has_tls = true;
        server.resume()?;
        Ok(server)
    }

    fn made() -> io::Result<Self> {
        let programs = programs()?;
        let user = if getuid().is_root() { Some((id("-u")?, id("-g")?)) } else { None };
        let folder = tempfile::tempdir()?;
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group))?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let server = Self { programs, folder, user, port, has_tls: false, child: None };
        let made = server
            .program("initdb")
            .args([
                "--username=adulis",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
                "--no-instructions",
            ])
            .arg("--pgdata")
            .arg(server.data())
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        Ok(server)
    }

    /// Writes a file beside the server's data, for nobody else to read.
    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.data().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        self.user.map_or(Ok(()), |(user, group)| chown(&path, Some(user), Some(group)))
    }

    /// A URL of its database, for one user who may do everything.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://adulis@127.0.0.1:{}/postgres", self.port)
    }

    /// Has its database run statements, such as those that make a table.
    ///
    /// # Errors
    /// As the system says, or what `psql` complains of.
    pub fn run(&self, statements: &str) -> io::Result<()> {
        let mut psql = self.program("psql");
        psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-c", statements]).arg(self.url());
        let output = psql.stderr(Stdio::piped()).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Stops the server at once, as a crash does: connections break.
    ///
    /// # Errors
    /// As the system says.
    pub fn stop(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            // An immediate shutdown: the server's own processes end with it.
            kill_process(Pid::from_child(&child), Signal::QUIT)?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts the server again, on the same port with the same data, and waits until it takes connections.
    ///
    /// # Errors
    /// As the system says.
    pub fn resume(&mut self) -> io::Result<()> {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-h", "127.0.0.1"]);
        // Its lock files beside its data; no waiting for a disk.
        command.arg("-k").arg(self.folder.path());
        for setting in [
            "fsync=off",
            "max_connections=50",
            "shared_buffers=16MB",
            "jit=off",
        ] {
            command.args(["-c", setting]);
        }
        if self.has_tls {
            command.args(["-c", "ssl=on"]);
            if self.data().join("root.crt").exists() {
                command.args(["-c", "ssl_ca_file=root.crt"]);
            }
        }
        self.child = Some(command.spawn()?);
        let begun = Instant::now();
        while !self.answers() {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL did not start"));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Whether it takes connections, rather than only listens: while it recovers it says so and hangs up.
    fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && self
                .program("pg_isready")
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .is_ok_and(|status| status.success())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// The folder with the programs: Debian's newest, else wherever `initdb` is found.
fn programs() -> io::Result<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = folders.into_iter().rev().chain(std::env::split_paths(&path));
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres", "pg_isready"].iter().all(|name| folder.join(name).is_file())
    };
    found.into_iter().find(complete).ok_or_else(|| {
        let message = "PostgreSQL is missing: `apt-get install postgresql-15`, or run `cargo xtask test`";
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

/// A number of the user `postgres`, which the package makes.
fn id(which: &str) -> io::Result<u32> {
    let output = Command::new("id").args([OsStr::new(which), OsStr::new("postgres")]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim()
        .parse()
        .map_err(|_| io::Error::other("there is no user postgres to run PostgreSQL as"))
}
