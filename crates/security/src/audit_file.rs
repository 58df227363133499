mod refusals;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};
use std::{fmt, thread};

use adulis_telemetry::{AUDIT_TARGET, AuditMetrics};
use adulis_types::{Actor, AuditEvent, AuditLog, AuditOutcome};
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::refusals::Refusals;

/// Events that may wait to be written.
const WAITING: usize = 4096;
/// Longest target or detail that is noted. Clients that may change nothing choose them, too, and must not fill the disk with
/// them.
const MAX_TEXT_BYTES: usize = 256;

/// A log of who changed what: a line of JSON for each event, at the end of a file, beside a line of the server's own log.
///
/// A thread writes and syncs; nobody who makes a change waits for the disk. What is not in the file, because it cannot be written
/// or is written too slowly, is counted, and in the server's log all the same. Of attempts that are refused only so many are
/// noted one by one, in either; a line says how many more there were.
pub struct AuditFile {
    metrics: AuditMetrics,
    refusals: Mutex<Refusals>,
    writer: Option<(SyncSender<String>, JoinHandle<()>)>,
}

impl AuditFile {
    /// Opens the file at `path`, or makes one that nobody else can read; `None` keeps to the server's log.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: Option<&Path>, metrics: AuditMetrics) -> io::Result<Self> {
        let writer = path.map(|path| start(path, metrics.clone())).transpose()?;
        Ok(Self { metrics, refusals: Mutex::default(), writer })
    }

    fn write(&self, event: &AuditEvent<'_>) {
        let (identity, _) = who(event.actor).unwrap_or_default();
        tracing::info!(
            target: AUDIT_TARGET,
            operation = event.operation,
            outcome = event.outcome.as_str(),
            identity,
            on = short(event.target.unwrap_or_default()),
            detail = short(event.detail.unwrap_or_default()),
            request_id = event.request_id.map(tracing::field::display),
            "audit"
        );
        if let Some((sender, _)) = &self.writer
            && sender.try_send(line(event, SystemTime::now())).is_err()
        {
            self.metrics.lost.inc();
        }
    }

    fn write_left_out(&self, count: u64) {
        if count > 0 {
            let detail = format!("{count} more, which are not noted one by one");
            let event = AuditEvent::of_server("refusals", AuditOutcome::Refused).with(&detail);
            self.write(&AuditEvent { actor: Actor::Unknown, ..event });
        }
    }
}

fn start(path: &Path, metrics: AuditMetrics) -> io::Result<(SyncSender<String>, JoinHandle<()>)> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let (sender, lines) = sync_channel(WAITING);
    let path = path.to_owned();
    let write = move || write(&path, &file, &lines, &metrics);
    let thread = thread::Builder::new().name("adulis-audit".to_owned()).spawn(write)?;
    Ok((sender, thread))
}

fn write(path: &Path, file: &File, lines: &Receiver<String>, metrics: &AuditMetrics) {
    let mut appended = Appended::default();
    while let Ok(mut text) = lines.recv() {
        let mut events = 1;
        // What waits is synced together.
        while let Ok(line) = lines.try_recv() {
            text.push_str(&line);
            events += 1;
        }
        if let Err(error) = appended.append(file, text).and_then(|()| file.sync_data()) {
            metrics.lost.inc_by(events);
            tracing::error!(%error, path = %path.display(), "the audit log cannot be written");
        }
    }
}

/// What is known of the end of the file.
#[derive(Default)]
struct Appended {
    /// A write that failed has left a part of a line there.
    is_amid_line: bool,
}

impl Appended {
    /// Writes lines, on a line of their own in any case.
    fn append(&mut self, mut file: impl Write, mut lines: String) -> io::Result<()> {
        if self.is_amid_line {
            lines.insert(0, '\n');
        }
        let mut left = lines.as_bytes();
        while !left.is_empty() {
            match file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.is_amid_line = left[count - 1] != b'\n';
                    left = &left[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// The name of who made a change, and how they are known.
fn who(actor: Actor<'_>) -> Option<(&str, &str)> {
    match actor {
        Actor::Unknown => None,
        Actor::Client(identity) => Some((identity.name.as_str(), identity.kind.as_str())),
        Actor::Server => Some(("server", "server")),
    }
}

/// One event as a line.
fn line(event: &AuditEvent<'_>, at: SystemTime) -> String {
    let identity = who(event.actor).map_or(Value::Null, |(name, kind)| json!({ "name": name, "kind": kind }));
    let line = json!({
        "at": humantime::format_rfc3339_micros(at).to_string(),
        "operation": event.operation,
        "outcome": event.outcome.as_str(),
        "identity": identity,
        "target": event.target.map(short),
        "detail": event.detail.map(short),
        "request_id": event.request_id.map(ToString::to_string),
    });
    format!("{line}\n")
}

impl AuditLog for AuditFile {
    fn record(&self, event: &AuditEvent<'_>) {
        self.metrics.events(event.outcome.as_str()).inc();
        let now = Instant::now();
        let (left_out, is_noted) = {
            let mut refusals = self.refusals.lock();
            let left_out = refusals.take_over(now);
            (left_out, event.outcome != AuditOutcome::Refused || refusals.admit(event.actor, now))
        };
        self.write_left_out(left_out);
        if is_noted {
            self.write(event);
        }
    }
}

impl fmt::Debug for AuditFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditFile").finish_non_exhaustive()
    }
}

impl Drop for AuditFile {
    /// Waits for what is still to be written: a few lines.
    fn drop(&mut self) {
        let left_out = self.refusals.get_mut().left_out();
        self.write_left_out(left_out);
        if let Some((sender, thread)) = self.writer.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use adulis_telemetry::{MetricRegistry, MetricsFormat};
    use adulis_types::{Identity, IdentityKind, RequestId, Scopes};

    use super::refusals::MAX_REFUSALS;
    use super::*;

    #[test]
    fn events_are_lines_behind_those_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let registry = MetricRegistry::default();
        let id = RequestId::given(b"abc").unwrap();
        let identity = Identity::new("key_1", IdentityKind::ApiKey, Scopes::NONE);
        let metrics = AuditMetrics::register(&registry);
        for target in ["a\nb\"", "c"] {
            let log = AuditFile::open(Some(&path), metrics.clone()).unwrap();
            log.record(&AuditEvent {
                operation: "model_load",
                actor: Actor::Client(&identity),
                target: Some(target),
                detail: None,
                request_id: Some(&id),
                outcome: AuditOutcome::Done,
            });
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!((&lines[0]["target"], &lines[1]["target"]), (&json!("a\nb\""), &json!("c")));
        assert_eq!(lines[0]["identity"], json!({ "name": "key_1", "kind": "api_key" }));
        assert_eq!((&lines[0]["request_id"], &lines[0]["outcome"]), (&json!("abc"), &json!("done")));
        assert!(lines[0]["at"].as_str().unwrap().ends_with('Z'));
        assert!(
            registry
                .render(MetricsFormat::Text)
                .contains("adulis_audit_events_total{outcome=\"done\"} 2")
        );
        #[cfg(unix)]
        {
            let mode =
                std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_clients_make_up_takes_no_more_than_a_name_does() {
        let event = AuditEvent {
            operation: "model_load",
            actor: Actor::Unknown,
            target: Some(&"\u{e9}".repeat(30_000)),
            detail: Some(&"\u{0}".repeat(30_000)),
            request_id: None,
            outcome: AuditOutcome::Refused,
        };
        let line = line(&event, SystemTime::UNIX_EPOCH);
        assert!(line.len() < 8 * MAX_TEXT_BYTES, "{} bytes", line.len());
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["target"], "\u{e9}".repeat(MAX_TEXT_BYTES / 2));
    }

    /// The file's lines after these events.
    fn noted(work: impl FnOnce(&AuditFile)) -> Vec<Value> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let log = AuditFile::open(Some(&path), AuditMetrics::default()).unwrap();
        work(&log);
        drop(log);
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn what_the_server_does_by_itself_is_noted_as_that() {
        let lines = noted(|log| {
            log.record(&AuditEvent::of_server("model_load", AuditOutcome::Done).to("digits").with("polled"));
        });
        assert_eq!(lines[0]["identity"], json!({ "name": "server", "kind": "server" }));
        assert_eq!((&lines[0]["target"], &lines[0]["detail"]), (&json!("digits"), &json!("polled")));
    }

    #[test]
    fn a_flood_of_refusals_hides_no_change_and_no_refusal_of_somebody_known() {
        let identity = Identity::new("key_1", IdentityKind::ApiKey, Scopes::NONE);
        let anonymous = Identity::new("anonymous", IdentityKind::Anonymous, Scopes::NONE);
        let event = |actor, outcome| AuditEvent { actor, ..AuditEvent::of_server("model_load", outcome) };
        let lines = noted(|log| {
            for count in 0..10_000_u32 {
                let stranger = if count % 2 == 0 { Actor::Unknown } else { Actor::Client(&anonymous) };
                log.record(&event(stranger, AuditOutcome::Refused));
            }
            log.record(&event(Actor::Client(&identity), AuditOutcome::Refused));
            log.record(&event(Actor::Client(&identity), AuditOutcome::Done));
        });
        let flood = MAX_REFUSALS as usize;
        assert_eq!(lines.len(), flood + 3, "{:?}", lines.last());
        let last: Vec<_> = lines[flood..].iter().map(|line| &line["outcome"]).collect();
        assert_eq!(last, ["refused", "done", "refused"]);
        let left_out = lines[flood + 2]["detail"].as_str().unwrap();
        assert!(left_out.starts_with(&format!("{} more", 10_000 - flood)), "{left_out}");
    }

    /// Takes so many bytes, and then none.
    struct Full {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room - self.taken.len());
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_short_swallows_none_of_those_after_it() {
        for (room, expected) in [
            (3, "one\ntwo\nthree\n"),
            (4, "one\nthree\n"),
            (6, "one\ntw\nthree\n"),
            (8, "one\ntwo\n"),
        ] {
            let (mut file, mut appended) = (Full { taken: Vec::new(), room }, Appended::default());
            for lines in ["one\n", "two\n", "three\n"] {
                if appended.append(&mut file, lines.to_owned()).is_err() {
                    file.room = 100;
                }
            }
            assert_eq!(String::from_utf8(file.taken).unwrap(), expected, "{room}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let registry = MetricRegistry::default();
        // Always full.
        let log = AuditFile::open(Some(Path::new("/dev/full")), AuditMetrics::register(&registry)).unwrap();
        log.record(&AuditEvent {
            operation: "log_update",
            actor: Actor::Unknown,
            target: None,
            detail: None,
            request_id: None,
            outcome: AuditOutcome::Refused,
        });
        drop(log);
        assert!(registry.render(MetricsFormat::Text).contains("adulis_audit_lost_total 1"));
        let nowhere = AuditFile::open(Some(Path::new("/nowhere/audit")), AuditMetrics::default());
        assert!(nowhere.is_err());
    }
}
