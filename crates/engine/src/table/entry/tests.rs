use super::*;

/// What serves, told apart by a number.
type Entry = super::Entry<u32>;

fn ok(version: u64, serving: u32) -> Outcome<u32> {
    (version, Ok(Arc::new(serving)))
}

fn err(version: u64, reason: &str) -> Outcome<u32> {
    (version, Err(reason.into()))
}

fn load(entry: &mut Entry, outcomes: Vec<Outcome<u32>>) -> Finished<u32> {
    let versions: Vec<u64> = outcomes.iter().map(|(version, _)| *version).collect();
    entry.begin(&"models".into(), &versions, true);
    entry.finish(outcomes)
}

fn loaded(outcomes: Vec<Outcome<u32>>) -> Entry {
    let mut entry = Entry::default();
    load(&mut entry, outcomes);
    entry
}

/// `1 READY`, with what serves or why nothing does.
fn told(entry: &Entry) -> Vec<String> {
    let versions = entry.versions().iter().map(|(version, state)| {
        let more = match state {
            Version::Ready(serving) => format!(" {serving}"),
            Version::Failed(reason) => format!(" {reason}"),
            Version::Unloaded => " unloaded".to_owned(),
            Version::Loading | Version::Unloading(_) => String::new(),
        };
        format!("{version} {}{more}", state.state())
    });
    versions.collect()
}

fn values(displaced: &[Arc<u32>]) -> Vec<u32> {
    displaced.iter().map(|serving| **serving).collect()
}

#[test]
fn a_first_load_serves_what_could_be_loaded() {
    let mut entry = Entry::default();
    entry.begin(&"models".into(), &[1, 2], true);
    assert_eq!(told(&entry), ["1 LOADING", "2 LOADING"]);
    assert!(!entry.answers() && !entry.is_broken());
    let finished = entry.finish(vec![ok(1, 10), err(2, "bad")]);
    assert_eq!(told(&entry), ["1 READY 10", "2 UNAVAILABLE bad"]);
    assert_eq!(finished.problem.as_deref(), Some("version 2: bad"));
    assert!(finished.displaced.is_empty());
    assert!(entry.answers() && entry.is_broken());
    assert_eq!(entry.repository(), "models");
}

#[test]
fn a_new_set_takes_the_old_ones_place_as_a_whole() {
    let mut entry = loaded(vec![ok(1, 10), ok(2, 20)]);
    entry.begin(&"models".into(), &[2, 3], true);
    assert_eq!(told(&entry), ["1 READY 10", "2 READY 20", "3 LOADING"]);
    let finished = entry.finish(vec![ok(2, 21), ok(3, 30)]);
    assert_eq!(told(&entry), ["1 UNLOADING", "2 READY 21", "3 READY 30"]);
    assert_eq!(values(&finished.displaced), [10, 20]);
    assert_eq!(finished.problem, None);
    let [one, two] = [0, 1].map(|index| Arc::downgrade(&finished.displaced[index]));
    entry.released(2, &two);
    entry.released(1, &one);
    assert_eq!(told(&entry), ["1 UNAVAILABLE unloaded", "2 READY 21", "3 READY 30"]);
    assert!(!entry.is_broken());
    load(&mut entry, vec![ok(3, 31)]);
    assert_eq!(told(&entry), ["2 UNLOADING", "3 READY 31"], "what was unloaded before is forgotten");
}

#[test]
fn a_version_that_is_taken_over_is_not_displaced() {
    let mut entry = loaded(vec![ok(1, 10)]);
    let same = Arc::clone(entry.latest().unwrap());
    let finished = load(&mut entry, vec![(1, Ok(Arc::clone(&same))), ok(2, 20)]);
    assert!(finished.displaced.is_empty());
    let finished = load(&mut entry, vec![(1, Ok(same)), err(3, "bad")]);
    assert!(finished.displaced.is_empty());
    assert_eq!(told(&entry), ["1 READY 10", "2 READY 20", "3 UNAVAILABLE bad"]);
}

#[test]
fn a_set_that_fails_keeps_the_old_one_and_says_why() {
    let mut entry = loaded(vec![ok(1, 10)]);
    let finished = load(&mut entry, vec![ok(1, 11), ok(2, 20), err(3, "bad")]);
    assert_eq!(values(&finished.displaced), [11, 20], "what was loaded in vain");
    assert_eq!(
        told(&entry),
        [
            "1 READY 10",
            "2 UNAVAILABLE given up, because not all versions could be loaded: version 3: bad",
            "3 UNAVAILABLE bad",
        ]
    );
    assert_eq!(entry.problem().map(|problem| &**problem), Some("version 3: bad"));
    assert!(!entry.is_broken(), "it answers as before");
    load(&mut entry, vec![ok(3, 30)]);
    assert_eq!(told(&entry), ["1 UNLOADING", "3 READY 30"]);
    assert_eq!(entry.problem(), None);
}

#[test]
fn a_model_that_cannot_be_read_any_more_goes_on_answering() {
    let mut entry = loaded(vec![ok(1, 10), err(2, "bad")]);
    entry.fail("no such key".into());
    assert_eq!(told(&entry), ["1 READY 10"]);
    assert!(!entry.is_broken());
    let mut entry = loaded(vec![err(1, "bad")]);
    entry.fail("no such key".into());
    assert!(entry.is_broken() && told(&entry).is_empty() && !entry.is_empty());
}

#[test]
fn unloading_lets_finish_and_leaves_nothing_broken() {
    let mut entry = loaded(vec![ok(1, 10), err(2, "bad")]);
    let displaced = entry.unload();
    assert_eq!(told(&entry), ["1 UNLOADING", "2 UNAVAILABLE unloaded"]);
    assert!(!entry.answers() && !entry.is_broken());
    entry.released(1, &Arc::downgrade(&displaced[0]));
    assert_eq!(told(&entry), ["1 UNAVAILABLE unloaded", "2 UNAVAILABLE unloaded"]);
    assert!(entry.unload().is_empty(), "what is unloaded can be unloaded again");

    let mut entry = Entry::default();
    entry.fail("no such key".into());
    entry.unload();
    assert!(entry.is_empty());
}

#[test]
fn a_model_that_leaves_is_gone_when_it_has_finished() {
    let mut entry = loaded(vec![ok(1, 10), err(2, "bad")]);
    let displaced = entry.leave();
    assert_eq!(told(&entry), ["1 UNLOADING"]);
    entry.released(1, &Arc::downgrade(&displaced[0]));
    assert!(entry.is_empty());
}

#[test]
fn a_model_that_comes_back_while_it_leaves_stays() {
    let mut entry = loaded(vec![ok(1, 10)]);
    let displaced = entry.leave();
    load(&mut entry, vec![ok(1, 11)]);
    entry.released(1, &Arc::downgrade(&displaced[0]));
    assert_eq!(told(&entry), ["1 READY 11"]);
}

#[test]
fn an_older_one_that_finishes_late_does_not_end_a_newer_ones_unloading() {
    let mut entry = loaded(vec![ok(1, 10)]);
    let older = entry.unload();
    load(&mut entry, vec![ok(1, 11)]);
    let newer = entry.unload();
    entry.released(1, &Arc::downgrade(&older[0]));
    assert_eq!(told(&entry), ["1 UNLOADING"]);
    entry.released(1, &Arc::downgrade(&newer[0]));
    assert_eq!(told(&entry), ["1 UNAVAILABLE unloaded"]);
}
