use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use adulis_store::{LogOptions, NewKey, PoolOptions, StoreError, StoreUrl};
use adulis_testing::PostgresServer;
use adulis_types::Dependency;
use sqlx::Row;

use crate::support::{PATIENCE, Served, all, direct, log};

const FULL: &str = "adulis_inference_log_dropped_total{reason=\"queue_full\"}";
const SHUTDOWN: &str = "adulis_inference_log_dropped_total{reason=\"shutdown\"}";
const WRITTEN: &str = "adulis_inference_log_written_total";

fn impatient() -> PoolOptions {
    PoolOptions { acquire_timeout: Duration::from_millis(300), ..PoolOptions::default() }
}

fn small_queue() -> Option<LogOptions> {
    Some(LogOptions { queue_records: 50, batch_records: 20, ..log(all()) })
}

/// Asks without a pause until it is told to stop; no request may fail.
async fn load(served: &Served, stop: &AtomicBool, asked: &AtomicU32) {
    while !stop.load(Ordering::Relaxed) {
        served.echo(&format!("{}", asked.fetch_add(1, Ordering::Relaxed)), &[7; 16]).await;
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

async fn count(url: &StoreUrl) -> (i64, i64) {
    let select = "SELECT COUNT(*), COUNT(DISTINCT client_id) FROM adulis_inference_log";
    let row = sqlx::query(select).fetch_one(&direct(url).await).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_database_that_stops_and_comes_back_under_load_fails_no_request() {
    let mut server = PostgresServer::start().expect("PostgreSQL starts");
    let url = StoreUrl::parse(&server.url()).unwrap();
    let served = Arc::new(Served::with_pool(&url, small_queue(), impatient()));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let loading = tokio::spawn({
        let (served, stop, asked) = (Arc::clone(&served), Arc::clone(&stop), Arc::clone(&asked));
        async move { load(&served, &stop, &asked).await }
    });
    served.metric_reaches(WRITTEN, 100.0).await;
    assert_eq!(served.store.problem(), None);

    server.stop().unwrap();
    served.metric_reaches(FULL, 100.0).await;
    served
        .metric_reaches("adulis_pool_timeouts_total{pool=\"store\",waited_for=\"connection\"}", 1.0)
        .await;
    assert!(served.store.problem().unwrap().contains("no connection"), "{:?}", served.store.problem());
    assert_eq!(served.metric("adulis_store_up"), 0.0);
    let before = served.metric(WRITTEN);

    server.resume().unwrap();
    served.metric_reaches(WRITTEN, before + 100.0).await;
    assert_eq!((served.store.problem(), served.metric("adulis_store_up")), (None, 1.0));
    stop.store(true, Ordering::Relaxed);
    loading.await.expect("no request failed");
    served.close().await;

    let asked = f64::from(asked.load(Ordering::Relaxed));
    assert_eq!(
        served.metric(WRITTEN) + served.metric(FULL),
        asked,
        "each is written or counted as dropped"
    );
    let (rows, distinct) = count(&url).await;
    // A commit whose answer was lost is done again; nothing is missing.
    assert_eq!(distinct as f64, served.metric(WRITTEN));
    assert!(rows >= distinct && rows - distinct <= 20, "{rows} {distinct}");
}

#[tokio::test]
async fn a_database_that_is_down_at_the_start_is_found_later() {
    let mut server = PostgresServer::start().expect("PostgreSQL starts");
    let url = StoreUrl::parse(&server.url()).unwrap();
    server.stop().unwrap();
    let begun = Instant::now();
    let served = Served::with_pool(&url, Some(log(all())), impatient());
    served.echo("early", &[1]).await;
    served.metric_reaches("adulis_store_errors_total{operation=\"ping\"}", 1.0).await;
    assert!(served.store.problem().is_some());
    assert!(begun.elapsed() < PATIENCE / 2);
    server.resume().unwrap();
    served.metric_reaches(WRITTEN, 1.0).await;
    assert_eq!(served.store.problem(), None);
    served.close().await;
}

#[tokio::test]
async fn a_database_that_is_down_keeps_nobody_waiting_for_long() {
    let mut server = PostgresServer::start().expect("PostgreSQL starts");
    let url = StoreUrl::parse(&server.url()).unwrap();
    let served = Served::with_pool(&url, None, impatient());
    let (_, secret) = served.store.keys().create(NewKey::default(), "ann").await.unwrap();
    let keys = served.store.keys();
    let find = || keys.find(secret.reveal());
    assert!(find().await.unwrap().is_some());
    server.stop().unwrap();
    let begun = Instant::now();
    while !matches!(find().await, Err(StoreError::Open)) {
        assert!(begun.elapsed() < PATIENCE, "it is asked for ever");
    }
    // Probes apart, which come ever more rarely.
    let begun = Instant::now();
    let mut refused = 0;
    while begun.elapsed() < Duration::from_millis(200) {
        refused += u32::from(matches!(find().await, Err(StoreError::Open)));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(refused > 20, "{refused} were refused at once");
    let breaker = |name: &str| served.metric(&format!("adulis_pool_{name}{{pool=\"store\"}}"));
    assert!(breaker("breaker_state") > 0.0 && breaker("breaker_openings_total") >= 1.0);
    assert!(breaker("refused_total") >= f64::from(refused));
    assert!(served.store.problem().unwrap().contains("no connection"), "{:?}", served.store.problem());
    server.resume().unwrap();
    let begun = Instant::now();
    while !matches!(find().await, Ok(Some(_))) {
        assert!(begun.elapsed() < PATIENCE, "nobody finds out that it is back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(breaker("breaker_state"), 0.0);
    served.close().await;
}

#[tokio::test]
async fn what_was_read_over_a_connection_that_broke_is_read_over_another_one() {
    let server = PostgresServer::start().expect("PostgreSQL starts");
    let url = StoreUrl::parse(&server.url()).unwrap();
    // One, which is not asked whether it lives.
    let options = PoolOptions { max_connections: 1, test_before_acquire: false, ..PoolOptions::default() };
    let served = Served::with_pool(&url, None, options);
    let (_, secret) = served.store.keys().create(NewKey::default(), "ann").await.unwrap();
    let killer = direct(&url).await;
    for _ in 0..3 {
        let end = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'";
        let ended = sqlx::query(end).fetch_one(&killer).await.unwrap();
        assert_eq!(ended.get::<i64, _>(0), 1);
        assert!(served.store.keys().find(secret.reveal()).await.unwrap().is_some());
    }
    assert_eq!(served.metric("adulis_store_errors_total{operation=\"keys\"}"), 0.0);
    assert!(served.metric("adulis_pool_retries_total{pool=\"store\"}") > 0.0);
    served.close().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_made_later() {
    let folder = tempfile::tempdir().unwrap();
    // Something else is where the file's folder should be.
    let in_the_way = folder.path().join("data");
    std::fs::write(&in_the_way, "").unwrap();
    let url = StoreUrl::sqlite(in_the_way.join("adulis.db"));
    let served = Served::with_pool(&url, Some(log(all())), impatient());
    served.echo("early", &[1]).await;
    served.metric_reaches("adulis_store_errors_total{operation=\"inference_log\"}", 1.0).await;
    assert!(served.store.problem().is_some());
    std::fs::remove_file(&in_the_way).unwrap();
    std::fs::create_dir(&in_the_way).unwrap();
    served.metric_reaches(WRITTEN, 1.0).await;
    assert_eq!(served.store.problem(), None);
    served.close().await;
}

#[tokio::test]
async fn what_cannot_be_written_at_the_end_is_dropped_in_time() {
    let mut server = PostgresServer::start().expect("PostgreSQL starts");
    let url = StoreUrl::parse(&server.url()).unwrap();
    let served = Served::with_pool(&url, Some(log(all())), impatient());
    served.store.database().ping().await.unwrap();
    server.stop().unwrap();
    for number in 0..30_u8 {
        served.echo("lost", &[number]).await;
    }
    let begun = Instant::now();
    served.store.close(Duration::from_millis(200)).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(served.metric(SHUTDOWN) + served.metric(WRITTEN), 30.0);
    // Nobody writes any more.
    served.echo("late", &[1]).await;
    assert_eq!(served.metric(FULL), 1.0);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some/where/adulis.db");
    let served = Served::new(&StoreUrl::sqlite(&path), Some(log(all())));
    served.echo("x", &[1]).await;
    served.metric_reaches(WRITTEN, 1.0).await;
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
    served.close().await;
}
