use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use adulis_pool::Health;
use adulis_quota::{Cost, Counts, Limits, Moment, Rate, Reading};
use adulis_testing::{BackingServer, POOL_TIMEOUT, TestClock};
use adulis_types::Retry;

use crate::{Replica, slow, state};

fn limits() -> Limits {
    Limits {
        requests: Some(slow(30)),
        rows: Some(slow(100)),
        rows_per_day: NonZeroU64::new(90),
        ..Limits::default()
    }
}

#[tokio::test]
async fn replicas_share_what_is_counted() {
    let redis = BackingServer::redis(&[]);
    let replicas = [
        Replica::start(&redis, limits()).await,
        Replica::start(&redis, limits()).await,
    ];
    let asked = (0..100).map(|number| replicas[number % 2].ask(1));
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 30, "of both together");
    let refused = replicas[1].ask(1).await;
    assert!(state(&refused).starts_with(r#""requests";r=0;"#), "{}", state(&refused));
    let retry = refused.unwrap_err().retry();
    let Retry::After(retry) = retry else {
        panic!("{retry:?}")
    };
    assert!(
        retry > Duration::from_secs(999_900) && retry <= Duration::from_secs(1_000_000),
        "{retry:?}"
    );
    assert_eq!(replicas.iter().map(Replica::unshared).sum::<f64>(), 0.0);
    let keys = redis.redis_cli(&["KEYS", "*"]);
    assert!(keys.trim().starts_with("test:quota:{") && keys.lines().count() == 1, "{keys}");
    let lives: u64 = redis.redis_cli(&["PTTL", keys.trim()]).trim().parse().unwrap();
    assert!(lives > 0, "what nobody asks for any more is gone some day");
}

#[tokio::test]
async fn redis_decides_as_a_replica_would() {
    let redis = BackingServer::redis(&[]);
    let replica = Replica::start(&redis, limits()).await;
    let mut counts = Counts::default();
    let moment = Moment { steady: 1_000_000_000, utc_seconds: 86_400 * 20_000 };
    for rows in [1, 20, 101, 30, 60, 0, 7, 91, 40, 3, 25, 1, 1, 2, 9] {
        let answer = replica.ask(rows).await;
        let judged = counts.judge(&limits(), Cost { rows: rows.max(1) as u64 }, moment);
        assert_eq!(answer.is_ok(), judged.refusal.is_none(), "{rows}: {}", state(&answer));
        if let (Err(fault), Some(refusal)) = (&answer, judged.refusal) {
            let message = fault.client_message();
            let what = match refusal.limit.as_str() {
                "rows-per-day" => "rows per day",
                "rows" => "rows per second",
                _ => "requests per second",
            };
            assert!(message.contains(what), "{rows}: {message}, expected {refusal:?}");
            assert_eq!(message.contains("send fewer"), refusal.retry.is_none(), "{rows}: {message}");
        }
        let left = |reading: Option<Reading>| reading.unwrap().remaining;
        let told = state(&answer);
        for (name, reading) in [
            ("requests", judged.requests),
            ("rows", judged.rows),
            ("rows-per-day", judged.rows_per_day),
        ] {
            let expected = format!("\"{name}\";r={};", left(reading));
            assert!(told.contains(&expected), "{rows}: {told}, expected {expected}");
        }
    }
}

#[tokio::test]
async fn what_passes_in_a_second_is_what_may() {
    let redis = BackingServer::redis(&[]);
    let rate = Rate { per_second: 200.0, burst: 20 };
    let replica = Replica::start(&redis, Limits { requests: Some(rate), ..Limits::default() }).await;
    let begun = Instant::now();
    let mut passed = 0_u32;
    while begun.elapsed() < Duration::from_secs(2) {
        passed += u32::from(replica.ask(1).await.is_ok());
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let most = 20.0 + 200.0 * begun.elapsed().as_secs_f64();
    assert!(f64::from(passed) <= most + 1.0, "{passed} of {most}");
    assert!(passed > 20, "and something comes back: {passed}");
}

#[tokio::test]
async fn a_redis_that_forgets_its_scripts_is_told_them_again() {
    let redis = BackingServer::redis(&[]);
    let replica = Replica::start(&redis, limits()).await;
    assert!(replica.ask(1).await.is_ok());
    redis.redis_cli(&["SCRIPT", "FLUSH"]);
    let answer = replica.ask(1).await;
    assert!(state(&answer).starts_with(r#""requests";r=28;"#), "{}", state(&answer));
    assert_eq!(replica.unshared(), 0.0);
}

#[tokio::test]
async fn without_redis_each_replica_counts_by_itself_and_fails_nobody() {
    let mut redis = BackingServer::redis(&[]);
    let replica = Replica::start(&redis, limits()).await;
    for _ in 0..10 {
        assert!(replica.ask(1).await.is_ok());
    }
    redis.kill();
    // What was counted before is known.
    for left in (0..20).rev() {
        let answer = replica.ask(1).await;
        assert!(state(&answer).starts_with(&format!(r#""requests";r={left};"#)), "{}", state(&answer));
        assert!(answer.is_ok());
    }
    assert!(replica.ask(1).await.is_err(), "limits hold still");
    assert_eq!(replica.unshared(), 21.0);
    redis.restart();
    replica.becomes(Health::Up).await;
    let answer = replica.ask(1).await;
    assert!(answer.is_ok(), "a Redis that has lost its data has no counts: {}", state(&answer));
    assert_eq!(replica.unshared(), 21.0);
}

#[tokio::test]
async fn a_redis_that_hangs_costs_no_more_than_its_deadline() {
    let redis = BackingServer::redis(&[]);
    let replica = Replica::start(&redis, limits()).await;
    redis.freeze();
    let begun = Instant::now();
    assert!(replica.ask(1).await.is_ok());
    assert!(begun.elapsed() < 4 * POOL_TIMEOUT, "{:?}", begun.elapsed());
    replica.becomes(Health::Down).await;
    let begun = Instant::now();
    for _ in 0..10 {
        assert!(replica.ask(1).await.is_ok());
    }
    assert!(begun.elapsed() < POOL_TIMEOUT, "nobody asks while it is down: {:?}", begun.elapsed());
    assert_eq!(replica.unshared(), 11.0);
    redis.thaw();
    replica.becomes(Health::Up).await;
    assert!(replica.ask(1).await.is_ok());
    assert_eq!(replica.unshared(), 11.0);
}

#[tokio::test]
async fn a_clock_of_redis_that_jumps_gives_and_takes_no_more_than_a_burst() {
    let clock = TestClock::new();
    clock.set("@2030-06-15 12:00:00");
    let redis = BackingServer::redis_by(&clock);
    let rate = Rate { per_second: 2.0, burst: 4 };
    let day = NonZeroU64::new(100);
    let limits = Limits { requests: Some(rate), rows_per_day: day, ..Limits::default() };
    let replica = Replica::start(&redis, limits).await;
    let (mut passed, retry, told) = replica.ask_all().await;
    assert!(passed >= 4 && is_soon(retry), "{passed}, {retry:?}");
    assert!(told.contains(&format!("\"rows-per-day\";r={};", 100 - passed)), "{told}");
    for back in ["@2030-06-14 12:00:00", "@2028-01-01 12:00:00"] {
        clock.set(back);
        let begun = Instant::now();
        let (more, retry, told) = replica.ask_all().await;
        let most = 1.0 + rate.per_second * begun.elapsed().as_secs_f64();
        assert!(f64::from(more) <= most && is_soon(retry), "{back}: {more} of {most}, {retry:?}");
        passed += more;
        assert!(
            told.contains(&format!("\"rows-per-day\";r={};", 100 - passed)),
            "{back}: the day goes on: {told}"
        );
    }
    clock.set("@2028-01-02 12:00:00");
    let (more, retry, told) = replica.ask_all().await;
    assert!(more >= 4 && is_soon(retry), "{more}, {retry:?}");
    assert!(told.contains(&format!("\"rows-per-day\";r={};", 100 - more)), "another day: {told}");
}

fn is_soon(retry: Retry) -> bool {
    matches!(retry, Retry::After(retry) if retry <= Duration::from_millis(500))
}

#[tokio::test]
async fn a_day_that_a_clock_of_redis_ran_ahead_to_ends_with_the_day_that_it_is() {
    let clock = TestClock::new();
    clock.set("@2030-06-15 12:00:00");
    let redis = BackingServer::redis_by(&clock);
    let limits = Limits { rows_per_day: NonZeroU64::new(5), ..Limits::default() };
    let replica = Replica::start(&redis, limits).await;
    assert_eq!(replica.ask_all().await.0, 5);
    clock.set("@2028-01-01 12:00:00");
    assert_eq!(replica.ask_all().await.0, 0, "it gives nobody a second day");
    clock.set("@2028-01-02 12:00:00");
    assert_eq!(replica.ask_all().await.0, 5);
}
