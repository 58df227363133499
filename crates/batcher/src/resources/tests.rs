use proptest::prelude::*;

use super::*;

fn resource(name: &str) -> Resource {
    Resource { name: name.into(), device: Some(0) }
}

fn needs(text: &str) -> Needs {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, count)| (resource(name), count.parse().unwrap())).collect()
}

fn limit(name: &str, count: u32, device: Option<u32>) -> ResourceLimit {
    ResourceLimit { name: name.into(), count, device }
}

fn limiter(members: &[(&'static str, &str, u32)]) -> ResourceLimiter<&'static str> {
    let mut limiter = ResourceLimiter::new(Vec::new());
    for (key, text, priority) in members {
        limiter.register(*key, vec![needs(text)], *priority).unwrap();
    }
    limiter
}

#[test]
fn there_are_as_many_units_as_the_most_that_a_run_needs() {
    let limiter = limiter(&[
        ("a", "R1=4 R2=4", 1),
        ("b", "R2=5 R3=10 R4=5", 1),
        ("c", "R1=1 R3=7 R4=2", 1),
    ]);
    let counts = ["R1", "R2", "R3", "R4"].map(|name| limiter.units(&resource(name)).1);
    assert_eq!(counts, [4, 5, 10, 5], "the example of Triton's documentation");
}

#[test]
fn two_that_share_a_unit_take_turns() {
    let mut limiter = limiter(&[("a", "R=1", 1), ("b", "R=1", 1), ("free", "", 1)]);
    assert!(limiter.begin(&"a", 0));
    assert!(!limiter.begin(&"b", 0));
    assert!(!limiter.begin(&"a", 0), "it waits, too, for its second run");
    assert!(limiter.begin(&"free", 0));
    assert_eq!(limiter.end(&"a", 0), ["b"]);
    assert_eq!(limiter.units(&resource("R")), (1, 1), "given already");
    assert!(limiter.begin(&"b", 0));
    assert_eq!(limiter.end(&"b", 0), ["a"]);
    assert_eq!(limiter.leave(&"a"), [""; 0], "it has nothing to run any more");
    assert_eq!(limiter.units(&resource("R")), (0, 1));
    assert!(limiter.begin(&"b", 0));
}

#[test]
fn a_look_that_finds_nothing_costs_no_turn() {
    let mut limiter = limiter(&[("a", "R=1", 1), ("b", "R=1", 1)]);
    for _ in 0..3 {
        assert!(limiter.begin(&"a", 0));
        assert_eq!(limiter.undo(&"a", 0), [""; 0]);
    }
    assert_eq!(limiter.units(&resource("R")), (0, 1));
    assert!(limiter.begin(&"b", 0));
    assert!(!limiter.begin(&"b", 0) && !limiter.begin(&"a", 0));
    assert_eq!(limiter.end(&"b", 0), ["a"], "who has run less");
}

#[test]
fn small_needs_do_not_starve_a_large_one() {
    let mut limiter = limiter(&[("large", "R=3", 1), ("small", "R=1", 1), ("other", "S=1", 1)]);
    assert!(limiter.begin(&"small", 0) && limiter.begin(&"small", 0));
    assert!(!limiter.begin(&"large", 0));
    assert!(!limiter.begin(&"small", 0), "there is a unit, but somebody waits for it");
    assert!(limiter.begin(&"other", 0), "who needs something else is not kept");
    assert_eq!(limiter.end(&"small", 0), [""; 0]);
    assert_eq!(limiter.end(&"small", 0), ["large"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut limiter = ResourceLimiter::new(vec![limit("R", 2, None), limit("S", 5, Some(1))]);
    limiter.register("a", vec![needs("R=2")], 1).unwrap();
    let fault = limiter.register("b", vec![needs("R=3")], 1).unwrap_err();
    assert_eq!(fault.to_string(), "needs 3 units of resource 'R' of device 0, of which there are 2");
    let fault = limiter.register("b", vec![needs("S=1")], 1).unwrap_err();
    assert_eq!(fault.to_string(), "needs 1 units of resource 'S' of device 0, of which there are 0");
    let global = |name: &str| vec![vec![(Resource { name: name.into(), device: None }, 1)]];
    let fault = limiter.register("b", global("R"), 1).unwrap_err();
    assert_eq!(fault.to_string(), "resource 'R' is global in one model and not in another");
    limiter.register("b", global("S"), 1).unwrap();
    assert_eq!(limiter.units(&Resource { name: "S".into(), device: None }), (0, 5));
}

#[test]
fn turns_are_shared_by_priority() {
    let mut limiter = limiter(&[("first", "R=1", 1), ("third", "R=1", 3)]);
    let mut runs = BTreeMap::from([("first", 0), ("third", 0)]);
    assert!(limiter.begin(&"first", 0));
    let mut running = "first";
    for _ in 0..400 {
        assert!(!limiter.begin(&"third", 0) && !limiter.begin(&"first", 0), "both want more");
        let given = limiter.end(&running, 0);
        running = given[0];
        assert!(given.len() == 1 && limiter.begin(&running, 0));
        *runs.get_mut(running).unwrap() += 1;
    }
    assert!((299..=301).contains(&runs["first"]), "{runs:?}");
}

/// What a random test does to a limiter.
#[derive(Debug, Clone)]
enum Act {
    Begin(usize),
    End(usize),
    Leave(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let member = 0..5_usize;
    let act = prop_oneof![
        4 => member.clone().prop_map(Act::Begin),
        4 => any::<usize>().prop_map(Act::End),
        1 => member.prop_map(Act::Leave),
    ];
    prop::collection::vec(act, 1..200)
}

proptest! {
    #[test]
    fn no_resource_is_used_beyond_its_count_and_nobody_waits_for_ever(
        kinds in prop::collection::vec((0..3_u32, 0..3_u32, 1..4_u32), 5),
        acts in acts(),
    ) {
        let mut limiter = ResourceLimiter::new(Vec::new());
        for (key, (r, s, priority)) in kinds.iter().enumerate() {
            limiter.register(key, vec![needs(&format!("R={r} S={s}"))], *priority).unwrap();
        }
        let mut running: Vec<usize> = Vec::new();
        let mut waiting: BTreeSet<usize> = BTreeSet::new();
        // Whoever is given something begins at once, as the executor has it looked at.
        let start = |limiter: &mut ResourceLimiter<usize>, given: Vec<usize>, running: &mut Vec<usize>, waiting: &mut BTreeSet<usize>| {
            for key in given {
                assert!(waiting.remove(&key), "{key} did not wait");
                assert!(limiter.begin(&key, 0), "{key} was given it");
                running.push(key);
            }
        };
        for act in acts {
            match act {
                Act::Begin(key) if limiter.begin(&key, 0) => { waiting.remove(&key); running.push(key); }
                Act::Begin(key) => drop(waiting.insert(key)),
                Act::End(index) if !running.is_empty() => {
                    let key = running.swap_remove(index % running.len());
                    let given = limiter.end(&key, 0);
                    start(&mut limiter, given, &mut running, &mut waiting);
                }
                Act::End(_) => {}
                Act::Leave(key) => {
                    waiting.remove(&key);
                    let given = limiter.leave(&key);
                    start(&mut limiter, given, &mut running, &mut waiting);
                }
            }
            for (name, of) in [("R", 0), ("S", 1)] {
                let used: u32 = running.iter().map(|key| if of == 0 { kinds[*key].0 } else { kinds[*key].1 }).sum();
                let (counted, limit) = limiter.units(&resource(name));
                prop_assert_eq!(used, counted);
                prop_assert!(used <= limit);
            }
        }
        // Runs end one after the other: everybody who waits gets his.
        while !running.is_empty() {
            let key = running.swap_remove(0);
            let given = limiter.end(&key, 0);
            start(&mut limiter, given, &mut running, &mut waiting);
        }
        prop_assert!(waiting.is_empty(), "{:?} wait though nothing runs", waiting);
    }
}
