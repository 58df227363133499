use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn options() -> BreakerOptions {
    BreakerOptions {
        consecutive_failures: 4,
        failure_percent: 50,
        minimum_operations: 10,
        window: Duration::from_secs(1),
        min_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(500),
    }
}

/// Half of a delay is left to chance. Delays are computed in floating point.
fn assert_within(waited: Duration, limit_ms: u64) {
    let limit = Duration::from_millis(limit_ms);
    assert!(
        waited >= limit.mul_f64(0.499) && waited <= limit.mul_f64(1.001),
        "{waited:?} of {limit:?}"
    );
}

struct Bench {
    breaker: Breaker,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { breaker: Breaker::new(options()), now: Instant::now() }
    }

    fn operation(&mut self, outcome: Outcome) -> bool {
        let admission = self.breaker.admit().expect("it is closed");
        self.breaker.record(admission, outcome, self.now)
    }

    fn fail(&mut self, times: u32) -> Vec<bool> {
        (0..times).map(|_| self.operation(Outcome::Failure)).collect()
    }

    /// Waits for the next probe, which ends like this. Returns how long it waited.
    fn probe(&mut self, outcome: Outcome) -> Duration {
        let at = self.breaker.next_probe().expect("it is open");
        let waited = at - self.now;
        self.now = at;
        assert!(self.breaker.begin_probe(self.now) && !self.breaker.begin_probe(self.now));
        assert_eq!(self.breaker.end_probe(outcome, self.now), outcome == Outcome::Success);
        waited
    }
}

#[test]
fn failures_in_a_row_open_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.fail(3), [false; 3]);
    bench.operation(Outcome::Success);
    assert_eq!(bench.fail(4), [false, false, false, true]);
    assert_eq!((bench.breaker.state(), bench.breaker.admit()), (BreakerState::Open, None));
}

#[test]
fn a_share_of_failures_opens_it_though_some_succeed() {
    let mut bench = Bench::new();
    let opened = (0..10).map(|index| {
        let outcome = if index % 2 == 0 { Outcome::Success } else { Outcome::Failure };
        bench.operation(outcome)
    });
    let opened: Vec<bool> = opened.collect();
    assert_eq!(opened.iter().position(|opened| *opened), Some(9), "not before there are enough");
}

#[test]
fn what_is_older_than_the_window_is_forgotten() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.fail(2);
        bench.operation(Outcome::Success);
        bench.now += Duration::from_millis(600);
    }
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
    bench.now += Duration::from_secs(1 << 40);
    bench.fail(3);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[test]
fn the_delay_doubles_and_is_bounded() {
    let mut bench = Bench::new();
    bench.fail(4);
    for limit in [100, 200, 400, 500, 500] {
        assert_within(bench.probe(Outcome::Failure), limit);
    }
    bench.probe(Outcome::Success);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[test]
fn after_a_probe_it_is_on_trial() {
    let mut bench = Bench::new();
    bench.fail(4);
    bench.probe(Outcome::Success);
    assert_eq!(bench.fail(1), [true], "one failure is enough");
    // And the delay goes on growing.
    assert_within(bench.probe(Outcome::Success), 200);
    for _ in 0..TRIAL {
        bench.operation(Outcome::Success);
    }
    assert_eq!(bench.fail(4), [false, false, false, true], "trusted again");
    assert_within(bench.probe(Outcome::Success), 100);
}

#[test]
fn outcomes_of_before_are_not_counted() {
    let mut bench = Bench::new();
    let old = bench.breaker.admit().unwrap();
    bench.fail(4);
    assert!(!bench.breaker.record(old, Outcome::Success, bench.now), "it is open");
    bench.probe(Outcome::Success);
    assert!(!bench.breaker.record(old, Outcome::Failure, bench.now));
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[test]
fn it_can_be_tripped() {
    let mut bench = Bench::new();
    assert!(bench.breaker.trip(bench.now) && !bench.breaker.trip(bench.now));
    assert_within(bench.probe(Outcome::Failure), 100);
    assert!(!bench.breaker.end_probe(Outcome::Success, bench.now), "none is under way");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    Admit,
    Record(usize, Outcome),
    Probe,
    EndProbe(Outcome),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = || prop_oneof![Just(Outcome::Success), Just(Outcome::Failure)];
    prop_oneof![
        2 => (0..400_u64).prop_map(Step::Wait),
        4 => Just(Step::Admit),
        6 => (0..8_usize, outcome()).prop_map(|(index, outcome)| Step::Record(index, outcome)),
        2 => Just(Step::Probe),
        2 => outcome().prop_map(Step::EndProbe),
    ]
}

/// What must hold, told in another way than the breaker works: with everything that was recorded since it closed.
struct Model {
    history: VecDeque<(Instant, Outcome)>,
    on_trial: bool,
    opened_at: Option<Instant>,
    last_delay: Duration,
}

impl Model {
    /// Whether this failure may open it, and whether it must.
    fn judge(&self) -> (bool, bool) {
        let in_a_row =
            self.history.iter().rev().take_while(|(_, outcome)| *outcome == Outcome::Failure).count();
        let must = in_a_row >= 4 || (self.on_trial && in_a_row >= 1);
        // The window has parts: what is a part of it older may be counted or not.
        let all = self.history.len();
        let failed = self.history.iter().filter(|(_, outcome)| *outcome == Outcome::Failure).count();
        (must || (all >= 10 && failed > 0), must)
    }
}

proptest! {
    #[test]
    fn it_lets_pass_what_it_should(steps in prop::collection::vec(step(), 1..400)) {
        let mut bench = Bench::new();
        let mut admissions: Vec<(Admission, u32)> = Vec::new();
        let mut closings = 0;
        let mut model =
            Model { history: VecDeque::new(), on_trial: false, opened_at: None, last_delay: Duration::ZERO };
        for step in steps {
            match step {
                Step::Wait(milliseconds) => bench.now += Duration::from_millis(milliseconds),
                Step::Admit => {
                    let admitted = bench.breaker.admit();
                    prop_assert_eq!(admitted.is_some(), bench.breaker.state() == BreakerState::Closed);
                    admissions.extend(admitted.map(|admission| (admission, closings)));
                }
                Step::Record(index, outcome) if index < admissions.len() => {
                    let (admission, of) = admissions.swap_remove(index);
                    let was_closed = bench.breaker.state() == BreakerState::Closed;
                    let opened = bench.breaker.record(admission, outcome, bench.now);
                    if !was_closed || of != closings {
                        prop_assert!(!opened, "what is of before has no say");
                        continue;
                    }
                    model.history.push_back((bench.now, outcome));
                    let (may, must) = model.judge();
                    prop_assert!(!opened || (may && outcome == Outcome::Failure));
                    prop_assert!(opened || !must);
                    let successes = model.history.iter().filter(|(_, outcome)| *outcome == Outcome::Success);
                    model.on_trial &= successes.count() < usize::try_from(TRIAL).unwrap();
                    model.opened_at = opened.then_some(bench.now);
                }
                Step::Probe => {
                    let due = bench.breaker.next_probe();
                    let began = bench.breaker.begin_probe(bench.now);
                    prop_assert_eq!(began, due.is_some_and(|due| due <= bench.now));
                }
                Step::EndProbe(outcome) => {
                    let was_probing = bench.breaker.state() == BreakerState::HalfOpen;
                    let closed = bench.breaker.end_probe(outcome, bench.now);
                    prop_assert_eq!(closed, was_probing && outcome == Outcome::Success);
                    if closed {
                        closings += 1;
                        model.history.clear();
                        model.on_trial = true;
                    } else if was_probing {
                        let delay = bench.breaker.next_probe().unwrap() - bench.now;
                        prop_assert!(delay >= model.last_delay.mul_f64(0.499), "but for chance it never gets shorter");
                        model.opened_at = Some(bench.now);
                    }
                }
                Step::Record(..) => {}
            }
            if let (Some(until), Some(opened_at)) = (bench.breaker.next_probe(), model.opened_at.take()) {
                model.last_delay = until - opened_at;
                let least = options().min_delay.mul_f64(0.499);
                prop_assert!((least..=options().max_delay).contains(&model.last_delay));
            }
        }
    }
}
