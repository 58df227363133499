//! What it costs to keep strangers out: TLS, an API key of the store, a quota, each by itself and all together, against a
//! server that does none of it, in one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::echo::{cpu_ratio, throughput};
use super::figure::Figure;
use super::load::{Contest, Second, grpc, repeated, rest};
use super::workbench::{Adulis, Rounds, Workbench};
use crate::process;

const MODEL: &str = "identity";

/// CPU time is told in hundredths of a second: long windows.
const ROUNDS: Rounds = Rounds { repetitions: 2, windows: 6, interval: Duration::from_secs(1) };

const AUTHORITY: &str = "ca.pem";

/// What a server asks of its clients.
#[derive(Clone, Copy)]
struct Protection {
    name: &'static str,
    tls: bool,
    key: bool,
    quota: bool,
}

const NOTHING: Protection = Protection { name: "nothing", tls: false, key: false, quota: false };

const ALL: Protection =
    Protection { name: "TLS 1.3, an API key and a quota", tls: true, key: true, quota: true };

const PROTECTIONS: [Protection; 4] = [
    Protection { name: "TLS 1.3", tls: true, ..NOTHING },
    Protection { name: "an API key of the store", key: true, ..NOTHING },
    Protection { name: "a quota", quota: true, ..NOTHING },
    ALL,
];

/// Requests per second and CPU time with each protection against none.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let place = Place::new(bench)?;
    let mut figures = Vec::new();
    for protection in PROTECTIONS {
        let name = protection.name;
        figures.extend(place.compare(
            protection,
            &format!("identity of 16 FP32, REST binary, 64 connections, {name}"),
            |adulis, tls| if tls { format!("https://{}", adulis.http) } else { rest(adulis.http) },
        )?);
    }
    figures.extend(place.compare(
        ALL,
        &format!("the same over gRPC, 8 connections × 8 streams, {}", ALL.name),
        |adulis, tls| if tls { format!("grpcs://{}", adulis.grpc) } else { grpc(adulis.grpc) },
    )?);
    Ok(figures)
}

/// Where certificates, the store and configurations lie.
struct Place<'a> {
    bench: &'a Workbench,
    folder: tempfile::TempDir,
    key: String,
}

impl<'a> Place<'a> {
    /// Makes certificates and a key.
    fn new(bench: &'a Workbench) -> Result<Self> {
        let folder = tempfile::tempdir_in(&bench.folder)?;
        let mut certificates = bench.program("adulis");
        process::capture(certificates.args(["cert", "dev", "--out"]).arg(folder.path()))?;
        let mut place = Self { bench, folder, key: String::new() };
        let config = place.configure(ALL)?;
        let mut keys = bench.program("adulis");
        keys.args([
            "keys", "create", "perf", "--scope", "infer", "--scope", "metadata", "--config",
        ])
        .arg(config);
        process::capture(&mut keys)?.trim().clone_into(&mut place.key);
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration's file.
    fn configure(&self, protection: Protection) -> Result<PathBuf> {
        let text = configuration(self.folder.path(), protection);
        let path = self.path("adulis.toml");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn serve(&self, protection: Protection) -> Result<Adulis> {
        let config = self.configure(protection)?;
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        self.bench.serve_guarded(&self.bench.models()?, &["--config", config])
    }

    fn compare(
        &self,
        protection: Protection,
        what: &str,
        url: impl Fn(&Adulis, bool) -> String,
    ) -> Result<[Figure; 2]> {
        let authority = self.path(AUTHORITY);
        let authority = authority.to_str().context("the folder's name is no UTF-8")?;
        let mut load = vec!["--concurrency", "64", "--api-key", &self.key];
        if protection.tls {
            load.extend(["--ca", authority]);
        }
        let start = || Ok((self.serve(protection)?, self.serve(NOTHING)?));
        let pairs = repeated(self.bench, ROUNDS, start, |(guarded, open)| Contest {
            name: "protection",
            model: MODEL,
            first: url(guarded, protection.tls),
            second: Second::Server(url(open, false)),
            load: &load,
            pids: Some([guarded.process.pid(), open.process.pid()]),
        })?;
        Ok([
            throughput(&format!("{what}: requests/s against a server that asks for nothing"), &pairs)?,
            cpu_ratio(&format!("{what}: server CPU per request against that server's"), &pairs)?,
        ])
    }
}

/// `adulis.toml` of a server: what it asks for, with the certificates and the store in `folder`.
fn configuration(folder: &Path, protection: Protection) -> String {
    let folder = folder.display();
    let mut text = format!("[store]\nurl = \"sqlite:{folder}/adulis.db\"\n");
    if protection.tls {
        text += &format!(
            "[tls]\ncertificate_files = [\"{folder}/server.pem\"]\nkey_files = [\"{folder}/server-key.pem\"]\n\
             [tls.metrics]\nenabled = false\n"
        );
    }
    if protection.key {
        text += "[auth]\nenabled = true\n";
    }
    if protection.quota {
        // Higher than anything asks for: what is measured is the counting.
        text += "[quotas.default]\nrequests_per_second = 1e9\nrows_per_second = 1e9\nconcurrent_requests = 100000\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_say_what_is_asked_for_and_nothing_else() {
        let of =
            |protection| toml::from_str::<toml::Table>(&configuration(Path::new("/x"), protection)).unwrap();
        let tables = |table: toml::Table| table.keys().cloned().collect::<Vec<_>>();
        assert_eq!(tables(of(NOTHING)), ["store"]);
        assert_eq!(tables(of(PROTECTIONS[0])), ["store", "tls"]);
        assert_eq!(tables(of(PROTECTIONS[1])), ["auth", "store"]);
        assert_eq!(tables(of(PROTECTIONS[2])), ["quotas", "store"]);
        assert_eq!(tables(of(ALL)), ["auth", "quotas", "store", "tls"]);
    }
}
