use std::sync::atomic::AtomicBool;
use std::time::Duration;

use adulis_telemetry::PoolMetrics;

use super::*;

/// A backend whose connections are numbers.
#[derive(Default)]
struct Fake {
    connects: AtomicUsize,
    is_down: AtomicBool,
    is_frozen: AtomicBool,
    pings: AtomicUsize,
    dead_below: AtomicUsize,
}

#[derive(Clone, Default)]
struct Dial(Arc<Fake>);

fn down() -> PoolError {
    PoolError::Connect { backend: "fake".into(), reason: "down".into() }
}

impl Connector for Dial {
    type Link = usize;

    async fn connect(&self) -> Result<usize, PoolError> {
        let number = self.0.connects.fetch_add(1, Ordering::Relaxed);
        if self.0.is_frozen.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.0.is_down.load(Ordering::Relaxed) { Err(down()) } else { Ok(number) }
    }

    async fn ping(&self, link: &usize) -> Result<(), PoolError> {
        self.0.pings.fetch_add(1, Ordering::Relaxed);
        let lives = *link >= self.0.dead_below.load(Ordering::Relaxed);
        if lives {
            Ok(())
        } else {
            Err(PoolError::Broken { backend: "fake".into(), reason: "gone".into() })
        }
    }
}

fn pool(options: PoolOptions) -> (Arc<Fake>, Multiplex<Dial>) {
    let dial = Dial::default();
    let metrics = PoolMetrics::default().pool("fake", PoolGauges::default);
    (Arc::clone(&dial.0), Multiplex::new(dial, "fake".into(), options, metrics))
}

fn options() -> PoolOptions {
    PoolOptions {
        max_connections: 2,
        max_in_flight: 16,
        min_connections: 1,
        ..PoolOptions::default()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test]
async fn many_share_a_connection_and_busy_ones_get_company() {
    let (fake, pool) = pool(options());
    let mut leases = Vec::new();
    for _ in 0..GROW_AT {
        leases.push(pool.acquire(soon()).await.unwrap());
    }
    assert_eq!(fake.connects.load(Ordering::Relaxed), 1);
    leases.push(pool.acquire(soon()).await.unwrap());
    pool.shared.connecting().await.unwrap();
    assert_eq!(
        fake.connects.load(Ordering::Relaxed),
        2,
        "the one that was begun is the one that was waited for"
    );
    leases.push(pool.acquire(soon()).await.unwrap());
    assert_eq!(leases[GROW_AT + 1].link(), 1, "the new one has less to do");
    let gauges = pool.gauges();
    assert_eq!((gauges.in_use, gauges.idle, gauges.max), (2, 0, 2));
    drop(leases);
    assert_eq!((pool.gauges().in_use, pool.gauges().idle), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_not_waited_for_forever() {
    let (_, pool) = pool(PoolOptions { max_connections: 1, max_in_flight: 1, ..options() });
    let lease = pool.acquire(soon()).await.unwrap();
    assert!(matches!(pool.acquire(soon()).await, Err(PoolError::Busy { .. })));
    let (waits, next) = tokio::join!(pool.acquire(soon()), async {
        let waiting = pool.gauges().waiting;
        drop(lease);
        waiting
    });
    assert!(waits.is_ok() && next == 1);
    drop(waits);
    assert_eq!(pool.gauges().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_leaves_the_connection_to_others() {
    let (fake, pool) = pool(options());
    fake.is_frozen.store(true, Ordering::Relaxed);
    let gave_up = tokio::time::timeout(Duration::from_millis(10), pool.acquire(soon())).await;
    assert!(gave_up.is_err());
    let reason = pool.acquire(soon()).await.err().unwrap().to_string();
    assert_eq!(reason, "fake cannot be reached: no connection within 1s");
    assert_eq!(fake.connects.load(Ordering::Relaxed), 1, "both waited for the same");
    fake.is_frozen.store(false, Ordering::Relaxed);
    assert_eq!(pool.acquire(soon()).await.unwrap().link(), 1);
}

#[tokio::test]
async fn a_connection_that_was_idle_is_asked_by_one_and_replaced_if_it_is_dead() {
    let (fake, pool) = pool(PoolOptions { check_after: Duration::ZERO, ..options() });
    drop(pool.acquire(soon()).await.unwrap());
    assert_eq!(fake.pings.load(Ordering::Relaxed), 1);
    let first = pool.acquire(soon()).await.unwrap();
    let second = pool.acquire(soon()).await.unwrap();
    assert_eq!(fake.pings.load(Ordering::Relaxed), 2, "the second found it in use");
    drop((first, second));
    fake.dead_below.store(1, Ordering::Relaxed);
    assert_eq!(pool.acquire(soon()).await.unwrap().link(), 1);
}

#[tokio::test]
async fn a_check_finds_a_backend_down_and_up_again() {
    let (fake, pool) = pool(options());
    fake.is_down.store(true, Ordering::Relaxed);
    assert_eq!(pool.check().await, Err(down()));
    fake.is_down.store(false, Ordering::Relaxed);
    assert_eq!(pool.check().await, Ok(()));
    fake.dead_below.store(2, Ordering::Relaxed);
    assert_eq!(pool.check().await, Ok(()), "a dead connection is replaced");
    assert_eq!((pool.gauges().idle, fake.connects.load(Ordering::Relaxed)), (1, 3));
}

#[tokio::test]
async fn upkeep_holds_the_minimum_and_replaces_what_is_old() {
    let (fake, keeps) = pool(options());
    keeps.upkeep().await;
    assert_eq!(keeps.gauges().idle, 1, "the minimum");
    keeps.upkeep().await;
    assert_eq!(fake.connects.load(Ordering::Relaxed), 1);
    let (fake, renews) = pool(PoolOptions { lifetime: Duration::ZERO, ..options() });
    renews.upkeep().await;
    renews.upkeep().await;
    assert_eq!((renews.gauges().idle, fake.connects.load(Ordering::Relaxed)), (1, 2));
    let (_, shrinks) = pool(PoolOptions { idle_timeout: Duration::ZERO, ..options() });
    shrinks.shared.connecting().await.unwrap();
    shrinks.shared.connecting().await.unwrap();
    assert_eq!(shrinks.gauges().idle, 2);
    let lease = shrinks.acquire(soon()).await.unwrap();
    shrinks.upkeep().await;
    assert_eq!((shrinks.gauges().in_use, shrinks.gauges().idle), (1, 0), "what is in use stays");
    drop(lease);
}
