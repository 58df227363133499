//! A full disk, as the limit of the size of files has it, which needs no rights, and as a small file system does: SQLite, audit
//! log, log, optimised models.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use adulis_testing::{RawConnection, StopSignal, TestRepository, TestServer};

use crate::support::{after, byte_json, byte_model};
use crate::{ask, assert_ok, until};

/// Without it the kernel ends a process that writes more than it may.
const IGNORE: &str = "trap '' XFSZ";
const WRITTEN: &str = "adulis_inference_log_written_total";

fn models() -> TestRepository {
    let repository = TestRepository::new().unwrap();
    repository.identity("digits", &byte_model(&[("fail_on", "99")])).unwrap();
    repository.identity("other", &byte_model(&[])).unwrap();
    repository
}

/// A server that keeps its store and its audit log in a folder.
fn with_files(repository: &TestRepository, folder: &Path, program: &str, more: &[&str]) -> TestServer {
    let set = |key: &str, file: &str| format!("{key}{}", folder.join(file).display());
    let (store, audit) = (set("store.url=sqlite:", "adulis.db"), set("audit.file=", "audit.jsonl"));
    let arguments = [
        repository.path().to_str().unwrap(),
        "--model-control-mode",
        "explicit",
        "--load-model",
        "*",
        "--set",
        &store,
        "--set",
        &audit,
        "--set",
        "store.usage=true",
        "--set",
        "inference_log.models.digits.sample_rate=1",
        "--set",
        "inference_log.flush_interval=50ms",
    ];
    TestServer::start(program, &[&arguments[..], more].concat()).unwrap()
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[tokio::test]
async fn a_full_disk_stops_no_request_and_is_written_to_again_when_there_is_room() {
    let (repository, folder) = (models(), tempfile::tempdir().unwrap());
    let audit = folder.path().join("audit.jsonl");
    let server = with_files(&repository, folder.path(), &after(folder.path(), IGNORE), &[]);
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    assert_ok(&ask(&mut connection, "digits", &[], 1).await);
    server.metric_reaches(WRITTEN, &[], 1.0).await;
    let load = "/v2/repository/models/other/load";
    assert_ok(&server.post(load, "").await.unwrap());
    until("the change is noted", &server, async || lines(&audit) == 1).await;

    server.limit_file_size(Some(0)).unwrap();
    for byte in 0..50 {
        let asked = Instant::now();
        assert_ok(&ask(&mut connection, "digits", &[], byte).await);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    assert_ok(&server.post(load, "").await.unwrap());
    // It is told: in readiness, which stays green, in metrics and in the log.
    server.metric_reaches("adulis_store_up", &[], 0.0).await;
    let ready = server.get("/v2/health/ready").await.unwrap();
    assert_ok(&ready);
    assert!(ready.text().contains(r#""store":{"up":false,"reason":"#), "{}", ready.text());
    server.metric_reaches("adulis_audit_lost_total", &[], 1.0).await;
    server.logged(&["ERROR", "the audit log cannot be written"]).await;
    assert_eq!(server.metric(WRITTEN, &[]).await.unwrap(), 1.0);

    server.limit_file_size(None).unwrap();
    server.metric_reaches(WRITTEN, &[], 51.0).await;
    server.metric_reaches("adulis_store_up", &[], 1.0).await;
    assert_eq!(server.metric("adulis_inference_log_dropped_total", &[]).await.unwrap(), 0.0);
    assert_ok(&server.post(load, "").await.unwrap());
    until("changes are noted again", &server, async || lines(&audit) == 2).await;
}

/// A file system of 4 MiB over a folder, in a process that nobody else sees it in. It takes the rights that users have for
/// themselves where the system lets them.
fn small_disk(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "[ -n \"$OWN_DISK\" ] || OWN_DISK=1 exec unshare --user --map-root-user --mount \"$0\" \"$@\"\n\
         mount -t tmpfs -o size=4m tmpfs {folder}/disk || exit 1"
    )
}

fn has_small_disks() -> bool {
    let arguments = [
        "--user",
        "--map-root-user",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "tmpfs",
        "/mnt",
    ];
    Command::new("unshare").args(arguments).status().is_ok_and(|status| status.success())
}

/// Writes a file until there is no room.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    let full = std::iter::repeat_with(|| file.write_all(&[0; 4096])).find_map(Result::err).unwrap();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
}

#[tokio::test]
async fn a_store_without_room_stops_no_request_and_what_is_lost_is_counted() {
    if !has_small_disks() {
        eprintln!(
            "SKIPPED: users may not mount file systems of their own here (unshare --user --map-root-user --mount)"
        );
        return;
    }
    let (repository, folder) = (models(), tempfile::tempdir().unwrap());
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let few = [
        "--set",
        "inference_log.queue_records=8",
        "--set",
        "inference_log.batch_records=4",
    ];
    let program = after(folder.path(), &small_disk(folder.path()));
    let server = with_files(&repository, &disk, &program, &few);
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    assert_ok(&ask(&mut connection, "digits", &[], 1).await);
    server.metric_reaches(WRITTEN, &[], 1.0).await;

    // As the server sees it.
    let ballast = Path::new("/proc").join(server.pid().to_string()).join("root");
    let ballast = ballast.join(disk.strip_prefix("/").unwrap()).join("ballast");
    fill(&ballast);
    for byte in 0..50 {
        let asked = Instant::now();
        assert_ok(&ask(&mut connection, "digits", &[], byte).await);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    server.metric_reaches("adulis_store_up", &[], 0.0).await;
    assert_ok(&server.get("/v2/health/ready").await.unwrap());
    server.logged(&["the store is of no use", "database or disk is full"]).await;
    let lost = "adulis_inference_log_dropped_total";
    let dropped = server.metric(lost, &["reason=\"queue_full\""]).await.unwrap();
    assert!((38.0..50.0).contains(&dropped), "{dropped} of 50, where 8 may wait and 4 be written");

    fs::remove_file(&ballast).unwrap();
    server.metric_reaches(WRITTEN, &[], 51.0 - dropped).await;
    server.metric_reaches("adulis_store_up", &[], 1.0).await;
    assert_eq!(server.metric(lost, &[]).await.unwrap(), dropped, "and nothing else was lost");
}

/// A port that was free a moment ago: nothing tells which one is served where nothing can be told.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server whose log goes where these words of a shell send it, with one line for each request, and where it listens.
async fn logging_to(words: &str, folder: &Path) -> (TestServer, TestRepository, SocketAddr) {
    let repository = models();
    let address = format!("127.0.0.1:{}", free_port());
    let program = after(folder, words);
    let models = repository.path().to_str().unwrap();
    let arguments = [models, "--http", &address, "--set", "log.access=true"];
    let server = TestServer::start(&program, &arguments).unwrap();
    let address = address.parse().unwrap();
    until("it serves", &server, async || match RawConnection::open(address).await {
        Ok(mut connection) => connection
            .request("GET /v2/health/ready", &[], b"")
            .await
            .is_ok_and(|ready| ready.status == 200),
        Err(_) => false,
    })
    .await;
    assert_eq!(server.log(), "");
    (server, repository, address)
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, _repository, address) = logging_to("exec 2>/dev/full", folder.path()).await;
    let mut connection = RawConnection::open(address).await.unwrap();
    for byte in 0..100 {
        // Each is told to the log, and those that fail more than once.
        let expected = if byte == 99 { 500 } else { 200 };
        let answer = ask(&mut connection, "digits", &[], byte).await;
        assert_eq!(answer.status, expected, "{byte}: {}", answer.text());
    }
    let answer = connection.request("POST /v2/models/nobody/infer", &[], byte_json(1).as_bytes()).await;
    assert_eq!(answer.unwrap().status, 404);
}

/// The entries of a folder, and the length of the longest.
fn held(folder: &Path) -> (usize, u64) {
    let lengths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    lengths.fold((0, 0), |(count, longest), length| (count + 1, longest.max(length)))
}

#[tokio::test]
async fn a_cache_of_optimised_models_without_room_stops_no_load() {
    let example = format!("{}/../../examples/models/digits", env!("CARGO_MANIFEST_DIR"));
    let request = fs::read_to_string(format!("{example}/request.json")).unwrap();
    let model = fs::read(format!("{example}/1/model.onnx")).unwrap();
    let (repository, folder) = (TestRepository::new().unwrap(), tempfile::tempdir().unwrap());
    repository.onnx("early", &model).unwrap();
    let cache = folder.path().join("optimised");
    let setting = format!("engine.optimized_cache={}", cache.display());
    // Less than an entry takes.
    let program = after(folder.path(), &format!("{IGNORE}; ulimit -S -f 16"));
    let models = repository.path().to_str().unwrap();
    let explicit = ["--model-control-mode", "explicit", "--load-model", "early"];
    let arguments = [
        &[models, "--engine", "onnxruntime", "--set", &setting][..],
        &explicit,
    ]
    .concat();
    let server = TestServer::start(&program, &arguments).unwrap();
    server.ready().await;
    assert_ok(&server.infer("early", &[], &request).await.unwrap());
    server.logged(&["WARN", "cache of optimised models was not used", "File too large"]).await;
    assert_eq!(held(&cache).0, 0, "nothing of what had no room is left");

    server.limit_file_size(None).unwrap();
    repository.onnx("late", &model).unwrap();
    assert_ok(&server.post("/v2/repository/models/late/load", "").await.unwrap());
    assert_ok(&server.infer("late", &[], &request).await.unwrap());
    let (count, longest) = held(&cache);
    assert!(
        count == 1 && longest > model.len() as u64 / 2,
        "{count} entries, the longest of {longest} bytes"
    );
}

/// A pipe that nobody reads holds 64 KiB.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let words = "mkfifo log\nexec 3<>log 2>log";
    let (mut server, _repository, address) = logging_to(words, folder.path()).await;
    let mut connection = RawConnection::open(address).await.unwrap();
    for _ in 0..1000 {
        let answer = ask(&mut connection, "digits", &[], 1).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.signal(StopSignal::Terminate).unwrap();
    assert_eq!(server.exit(Duration::from_secs(20)).await.unwrap().code(), Some(0));
}
