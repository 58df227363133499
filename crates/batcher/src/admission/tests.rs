use super::*;
use crate::CostModel;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// 10 ms and 2 ms for each row.
pub(super) fn cost() -> CostModel {
    let mut cost = CostModel::new();
    for rows in [1, 2, 4, 8] {
        cost.observe(rows, ms(10 + 2 * rows as u64));
    }
    cost
}

fn control(max_batch_size: usize, parallel: usize, max_queue_time: Option<Duration>) -> AdmissionControl {
    let policy = AdmissionPolicy { parallel, max_queue_time };
    let batching = BatchPolicy { max_batch_size, ..BatchPolicy::default() };
    AdmissionControl::new(policy, &batching, cost().into())
}

fn began(place: usize, rows: usize) -> Began {
    Began { place, rows, bucket: ShapeBucket::NONE, others_wait: false }
}

fn ahead(requests_ahead: usize) -> Position {
    Position { rows: 1, rows_ahead: requests_ahead, requests_ahead }
}

/// Milliseconds of wait and answer.
fn forecast(control: &AdmissionControl, position: Position, now: Instant) -> (u128, u128) {
    let Forecast { wait, answer } = control.forecast(position, now).unwrap();
    (wait.as_millis(), answer.as_millis())
}

#[test]
fn a_request_waits_for_full_batches_and_then_for_its_own() {
    let (mut control, now) = (control(4, 1, None), Instant::now());
    assert_eq!(forecast(&control, ahead(0), now), (0, 12));
    assert_eq!(forecast(&control, ahead(3), now), (0, 18));
    assert_eq!(forecast(&control, ahead(4), now), (18, 30));
    control.began(began(0, 1), std::iter::empty(), now);
    let later = now + ms(5);
    assert_eq!(forecast(&control, ahead(0), later), (7, 19));
    assert_eq!(forecast(&control, ahead(9), later), (43, 57));
    // It should have ended by now, and may any moment.
    assert_eq!(forecast(&control, ahead(0), now + ms(50)), (0, 12));
    control.ended(0, (false, false), now + ms(50));
    assert!(!control.runs(0));
}

#[test]
fn places_share_the_work() {
    let (mut control, now) = (control(4, 2, None), Instant::now());
    control.began(began(0, 1), std::iter::empty(), now);
    assert_eq!(forecast(&control, ahead(0), now), (0, 12));
    assert_eq!(forecast(&control, ahead(4), now), (12, 24));
    control.began(began(1, 1), std::iter::empty(), now + ms(4));
    assert_eq!(forecast(&control, ahead(4), now + ms(4)), (12, 24));
}

#[test]
fn requests_that_share_no_batch_wait_for_each_other() {
    let (control, now) = (control(1, 1, None), Instant::now());
    let position = Position { rows: 4, rows_ahead: 9, requests_ahead: 3 };
    // Three runs of three rows on average, and one of four.
    assert_eq!(forecast(&control, position, now), (48, 66));
}

#[test]
fn batches_are_expected_to_be_as_large_as_lately() {
    let (mut control, now) = (control(8, 1, None), Instant::now());
    for round in 0..40 {
        let at = now + ms(26) * round;
        control.began(Began { others_wait: true, ..began(0, 5) }, std::iter::empty(), at);
        control.ended(0, (false, false), at + ms(20));
    }
    let later = now + Duration::from_secs(9);
    assert_eq!(forecast(&control, ahead(0), later), (0, 20), "five rows are expected");
    assert_eq!(forecast(&control, ahead(7), later), (20, 40), "a batch is full with five rows");
}

#[test]
fn what_cannot_be_in_time_is_told_when_it_could() {
    let (mut control, now) = (control(4, 1, None), Instant::now());
    let within = |ms| Some(now + Duration::from_millis(ms));
    // Nothing runs: whatever the forecast.
    assert_eq!(control.admit((0, within(1)), ahead(0), now), Ok(()));
    control.began(began(0, 1), std::iter::empty(), now);
    assert_eq!(control.admit((1, within(24)), ahead(0), now), Ok(()));
    let late = control.admit((2, within(20)), ahead(0), now).unwrap_err();
    assert_eq!(late, TooLate::Deadline { expected: ms(24), by: ms(4) });
    assert_eq!(late.retry_after(), Some(ms(4)));
    // As much later it is in time, with the same time left.
    let later = now + ms(4);
    assert_eq!(control.admit((3, Some(later + ms(20))), ahead(0), later), Ok(()));
    let never = control.admit((4, within(11)), ahead(0), now).unwrap_err();
    assert_eq!(never, TooLate::Impossible { expected: ms(12) });
    assert_eq!(never.retry_after(), None);
}

#[test]
fn the_queue_is_bounded_by_time() {
    let (mut control, now) = (control(4, 1, Some(ms(30))), Instant::now());
    assert!(control.concerns(None));
    assert_eq!(control.admit((0, None), ahead(7), now), Ok(()));
    let late = control.admit((1, None), ahead(8), now).unwrap_err();
    assert_eq!(late, TooLate::QueueTime { expected: ms(36), limit: ms(30) });
    assert_eq!(late.retry_after(), Some(ms(6)));
}

#[test]
fn without_deadline_and_bound_nothing_is_asked() {
    let control = control(4, 1, None);
    assert!(!control.concerns(None) && control.concerns(Some(Instant::now())));
}

#[test]
fn while_nothing_is_known_nothing_is_refused() {
    let policy = AdmissionPolicy { parallel: 1, max_queue_time: Some(Duration::ZERO) };
    let mut control = AdmissionControl::new(policy, &BatchPolicy::default(), CostLines::default());
    let now = Instant::now();
    assert_eq!(control.admit((0, Some(now)), ahead(100), now), Ok(()));
    assert_eq!(control.forecast(ahead(1), now), None);
}

#[test]
fn what_others_take_of_the_threads_counts_as_cost() {
    let (mut control, mut now) = (control(1, 1, None), Instant::now());
    // Runs take 12 ms, and each begins 8 ms after the place was free.
    for id in 0..50 {
        control.began(Began { others_wait: true, ..began(0, 1) }, std::iter::once(id), now);
        control.ended(0, (true, true), now + ms(12));
        now += ms(20);
    }
    let expected = control.cost(ShapeBucket::NONE, 1);
    assert!(expected > ms(19) && expected < ms(21), "{expected:?}");
    // A place that is left free on purpose costs nobody anything.
    control.rests();
    control.began(began(0, 1), std::iter::empty(), now);
    assert_eq!(control.running[0].since, now);
}

#[test]
fn forecasts_that_were_wrong_widen_the_margin() {
    let (mut control, mut now) = (control(1, 1, None), Instant::now());
    for id in 0..100 {
        control.began(began(0, 1), std::iter::empty(), now);
        control.admit((id, Some(now + ms(1000))), ahead(0), now).unwrap();
        control.ended(0, (false, true), now + ms(12));
        control.began(began(0, 1), std::iter::once(id), now + ms(12));
        // 34 ms where 24 were forecast.
        control.ended(0, (false, false), now + ms(34));
        now += ms(50);
    }
    control.began(began(0, 1), std::iter::empty(), now);
    let late = control.admit((1000, Some(now + ms(30))), ahead(0), now).unwrap_err();
    let TooLate::Deadline { expected, .. } = late else {
        panic!("{late:?}");
    };
    assert!(expected > ms(33), "{expected:?}");
}

#[test]
fn what_left_before_it_was_due_says_nothing() {
    let (mut control, now) = (control(1, 1, None), Instant::now());
    control.began(began(0, 1), std::iter::empty(), now);
    control.admit((1, Some(now + ms(100))), ahead(0), now).unwrap();
    control.left(1, now + ms(3));
    assert_eq!(control.lateness.margin(), Duration::ZERO);
    control.admit((2, Some(now + ms(100))), ahead(0), now).unwrap();
    control.left(2, now + ms(60));
    assert!(control.lateness.margin() > Duration::ZERO);
    assert!(control.samples.is_empty());
}

/// Rows of 8 elements take 2 ms, rows of 1,000 take 60 ms.
fn sized(max_batch_size: usize) -> (AdmissionControl, ShapeBucket, ShapeBucket) {
    let (short, long) = (ShapeBucket::of(8), ShapeBucket::of(1000));
    let mut lines = CostLines::default();
    for _ in 0..8 {
        for rows in 1..=max_batch_size {
            lines.observe(short, rows, ms(2 * rows as u64));
        }
        lines.observe(long, 1, ms(60));
    }
    let batching = BatchPolicy { max_batch_size, ..BatchPolicy::default() };
    let policy = AdmissionPolicy { parallel: 1, max_queue_time: None };
    (AdmissionControl::new(policy, &batching, lines), short, long)
}

#[test]
fn a_request_costs_what_those_of_its_size_do() {
    let (mut control, short, long) = sized(1);
    let (now, mut mix) = (Instant::now(), Mix::default());
    mix.add(short, 1);
    let load = |bucket| Load { position: ahead(1), bucket, waiting: &mix };
    control.began(Began { bucket: short, ..began(0, 1) }, std::iter::empty(), now);
    let within = |ms| Some(now + Duration::from_millis(ms));
    assert_eq!(control.admit((1, within(20)), load(short), now), Ok(()));
    let refused = control.admit((2, within(20)), load(long), now).unwrap_err();
    assert_eq!(refused, TooLate::Impossible { expected: ms(60) });
    let refused = control.admit((3, within(62)), load(long), now).unwrap_err();
    assert_eq!(refused, TooLate::Deadline { expected: ms(64), by: ms(2) });
}

#[test]
fn those_ahead_cost_what_is_usual_among_those_that_wait() {
    for max_batch_size in [1, 4] {
        let (control, short, long) = sized(max_batch_size);
        let now = Instant::now();
        let (mut shorts, mut mixed) = (Mix::default(), Mix::default());
        for _ in 0..8 {
            shorts.add(short, 1);
            mixed.add(short, 1);
        }
        let wait = |waiting: &Mix, requests| {
            let load = Load { position: ahead(requests), bucket: short, waiting };
            control.forecast(load, now).unwrap().wait
        };
        assert_eq!(wait(&shorts, 8), ms(16));
        // One long one among them is what most of the time goes to, however rare.
        mixed.add(long, 1);
        let expected = if max_batch_size == 1 { ms(75) } else { ms(20) };
        assert!(wait(&mixed, 9) >= expected, "{:?}", wait(&mixed, 9));
    }
}

#[test]
fn what_runs_is_over_when_those_of_its_size_are() {
    let (mut control, short, long) = sized(1);
    let now = Instant::now();
    for (bucket, expected) in [(short, 2), (long, 60)] {
        control.began(Began { bucket, ..began(0, 1) }, std::iter::empty(), now);
        assert_eq!(forecast(&control, ahead(0), now).0, expected);
        control.ended(0, (true, false), now + ms(u64::try_from(expected).unwrap()));
    }
}
