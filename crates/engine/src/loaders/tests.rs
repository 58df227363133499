use std::sync::mpsc;
use std::time::Duration;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn name(model: &str) -> Arc<str> {
    model.into()
}

/// How many of something there are at a time, and the most there ever were.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn during(&self, act: impl FnOnce()) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        act();
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

#[test]
fn tasks_of_one_model_run_one_after_the_other_in_order() {
    let loaders = Loaders::new(4);
    let (told, order) = mpsc::channel();
    let gauge = Arc::new(Gauge::default());
    for index in 0..20 {
        let (told, gauge) = (told.clone(), Arc::clone(&gauge));
        let work = move || {
            gauge.during(|| thread::sleep(Duration::from_millis(1)));
            told.send(index).unwrap();
        };
        loaders.submit(&name("m"), work).unwrap();
    }
    drop(told);
    assert_eq!(order.iter().collect::<Vec<i32>>(), (0..20).collect::<Vec<i32>>());
    assert_eq!(gauge.most(), 1);
}

#[test]
fn models_run_side_by_side_up_to_the_limit_and_leave_no_thread() {
    let loaders = Loaders::new(3);
    let gauge = Arc::new(Gauge::default());
    let (told, done) = mpsc::channel();
    for index in 0..12 {
        let (told, gauge) = (told.clone(), Arc::clone(&gauge));
        let work = move || {
            gauge.during(|| thread::sleep(Duration::from_millis(20)));
            told.send(()).unwrap();
        };
        loaders.submit(&name(&format!("m{index}")), work).unwrap();
    }
    drop(told);
    assert_eq!(done.iter().count(), 12);
    assert_eq!(gauge.most(), 3);
    loaders.close();
    assert_eq!(loaders.state.lock().threads, 0);
    assert_eq!(loaders.submit(&name("m"), || {}), Err(NotTaken::Closed));
}

#[test]
fn a_model_that_waits_does_not_hold_up_others() {
    let loaders = Loaders::new(2);
    let (release, held) = mpsc::channel::<()>();
    let (told, done) = mpsc::channel();
    loaders.submit(&name("slow"), move || assert!(held.recv().is_err())).unwrap();
    loaders.submit(&name("slow"), || {}).unwrap();
    loaders.submit(&name("quick"), move || told.send(()).unwrap()).unwrap();
    done.recv_timeout(LONG).unwrap();
    assert!(loaders.is_busy("slow"));
    assert!(!loaders.is_busy("nobody"));
    drop(release);
    loaders.close();
    assert!(!loaders.is_busy("slow"));
}

#[test]
fn what_waits_is_given_up_while_what_runs_goes_on() {
    let loaders = Loaders::new(1);
    let (release, held) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let (told, done) = mpsc::channel();
    let also_told = told.clone();
    let work = move || {
        begun.send(()).unwrap();
        assert!(held.recv().is_err());
        told.send("ran").unwrap();
    };
    loaders.submit(&name("m"), work).unwrap();
    has_begun.recv_timeout(LONG).unwrap();
    loaders.submit(&name("n"), move || also_told.send("waited").unwrap()).unwrap();
    loaders.refuse();
    assert!(!loaders.is_busy("n"));
    assert_eq!(loaders.submit(&name("n"), || {}), Err(NotTaken::Closed));
    drop(release);
    assert_eq!(done.iter().collect::<Vec<_>>(), ["ran"]);
}

#[test]
fn clients_are_refused_when_too_much_waits() {
    let loaders = Loaders::new(1);
    let (release, held) = mpsc::channel::<()>();
    loaders.submit(&name("m"), move || assert!(held.recv().is_err())).unwrap();
    while !loaders.state.lock().waiting.is_empty() {
        thread::yield_now();
    }
    for _ in 0..MAX_WAITING {
        loaders.submit_bounded(&name("m"), || {}).unwrap();
    }
    assert_eq!(loaders.submit_bounded(&name("m"), || {}), Err(NotTaken::Full));
    loaders.submit(&name("m"), || {}).unwrap();
    drop(release);
    loaders.close();
}

#[test]
fn a_panic_costs_no_thread() {
    let loaders = Loaders::new(1);
    let (told, done) = mpsc::channel();
    loaders.submit(&name("m"), || panic!("asked to")).unwrap();
    loaders.submit(&name("m"), move || told.send(()).unwrap()).unwrap();
    done.recv_timeout(LONG).unwrap();
}

#[test]
fn helpers_count_towards_the_limit() {
    let loaders = Loaders::new(3);
    let gauge = Arc::new(Gauge::default());
    let (told, results) = mpsc::channel();
    for model in ["a", "b"] {
        let (loaders_too, gauge, told) = (Arc::clone(&loaders), Arc::clone(&gauge), told.clone());
        let work = move || {
            let squares = loaders_too.several(10, |index| {
                gauge.during(|| thread::sleep(Duration::from_millis(5)));
                index * index
            });
            told.send(squares).unwrap();
        };
        loaders.submit(&name(model), work).unwrap();
    }
    drop(told);
    let squares: Vec<usize> = (0..10).map(|index| index * index).collect();
    assert_eq!(results.iter().collect::<Vec<_>>(), [squares.clone(), squares]);
    assert!(gauge.most() <= 3, "{} at a time", gauge.most());
    loaders.close();
}
