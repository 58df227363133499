use adulis_telemetry::{MetricRegistry, MetricsFormat, PoolGauges, PoolMetrics};

use super::*;

fn gate() -> (MetricRegistry, Gate) {
    let registry = MetricRegistry::default();
    let handles = PoolMetrics::register(&registry).pool("fake", PoolGauges::default);
    (registry, Gate::new("fake".into(), &PoolOptions::default(), handles))
}

fn broken() -> PoolError {
    PoolError::Broken { backend: "fake".into(), reason: "gone".into() }
}

async fn fail(gate: &Gate) -> PoolError {
    gate.run(Operation::Get, |_| async { Err::<(), _>(broken()) }).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_has_failed_and_opens_the_breaker() {
    let (registry, gate) = gate();
    for _ in 0..5 {
        let begun = tokio::time::Instant::now();
        let error = gate.run(Operation::Get, |_| std::future::pending::<Result<(), _>>()).await.unwrap_err();
        assert_eq!(error.to_string(), "fake did not answer within 50ms");
        assert!(begun.elapsed() < Duration::from_millis(60));
    }
    let begun = tokio::time::Instant::now();
    assert!(matches!(fail(&gate).await, PoolError::Open { .. }));
    assert_eq!(begun.elapsed(), Duration::ZERO, "it is not even tried");
    let status = gate.status();
    assert_eq!(
        (status.health, status.last_error.unwrap()),
        (Health::Down, "fake did not answer within 50ms".to_owned())
    );
    let text = registry.render(MetricsFormat::OpenMetrics);
    for line in [
        "adulis_pool_timeouts_total{pool=\"fake\",waited_for=\"answer\"} 5",
        "adulis_pool_errors_total{pool=\"fake\",operation=\"get\"} 5",
        "adulis_pool_breaker_openings_total{pool=\"fake\"} 1",
        "adulis_pool_refused_total{pool=\"fake\"} 1",
    ] {
        assert!(text.lines().any(|candidate| candidate == line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn errors_of_one_operation_leave_it_closed() {
    let (_, gate) = gate();
    let answer = || PoolError::Answer { backend: "fake".into(), reason: "wrong type".into() };
    let busy = || PoolError::Busy { backend: "fake".into(), limit: Duration::ZERO };
    for error in [answer, busy] {
        for _ in 0..30 {
            let failed = gate.run(Operation::Set, |_| async { Err::<(), _>(error()) }).await;
            assert_eq!(failed, Err(error()));
        }
    }
    assert_eq!((gate.breaker_state(), gate.status().health), (0, Health::Up));
}

#[tokio::test]
async fn one_that_was_cancelled_says_nothing() {
    let (_, gate) = gate();
    for _ in 0..30 {
        let operation = gate.run(Operation::Get, |_| std::future::pending::<Result<(), _>>());
        assert!(tokio::time::timeout(Duration::ZERO, operation).await.is_err());
    }
    assert_eq!(gate.breaker_state(), 0);
}

#[tokio::test]
async fn what_failed_in_part_counts_and_is_answered() {
    let (_, gate) = gate();
    for _ in 0..5 {
        let part = gate.run_partly(Operation::Get, |_| async { Ok((1, Some(broken()))) }).await;
        assert_eq!(part, Ok(1));
    }
    assert_eq!(gate.breaker_state(), 2);
}

#[tokio::test]
async fn a_failed_check_opens_and_a_probe_closes() {
    let (_, gate) = gate();
    assert_eq!(gate.status().health, Health::Unknown);
    gate.checked(&Err(broken()));
    assert_eq!((gate.breaker_state(), gate.status().health), (2, Health::Down));
    gate.opened().await;
    assert!(!gate.begin_probe(), "it is not due");
    tokio::time::sleep_until(gate.next_probe().unwrap().into()).await;
    assert!(gate.begin_probe());
    assert_eq!(gate.breaker_state(), 1);
    gate.checked(&Ok(()));
    let status = gate.status();
    assert_eq!((gate.breaker_state(), status.health), (0, Health::Up));
    assert!(status.last_error.is_some(), "what it was stays known");
    assert!(matches!(fail(&gate).await, PoolError::Broken { .. }));
    assert_eq!(gate.breaker_state(), 2, "on trial, one failure is enough");
}

#[tokio::test(start_paused = true)]
async fn what_is_done_once_more_is_a_share_of_what_is_done() {
    let (registry, gate) = gate();
    let retried = |gate: &Gate| (0..1000).take_while(|_| gate.may_retry()).count();
    assert_eq!(retried(&gate), 100, "a few in any case");
    for _ in 0..500 {
        gate.run(Operation::Get, |_| async { Ok(()) }).await.unwrap();
    }
    assert_eq!(retried(&gate), 100, "and one for each five operations");
    let text = registry.render(MetricsFormat::OpenMetrics);
    assert!(text.contains("adulis_pool_retries_total{pool=\"fake\"} 200"), "{text}");
}
