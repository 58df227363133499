use std::fs;
use std::path::Path;

use adulis_repository::Repositories;

use super::*;

/// A repository, and a time at which all changes to it have settled.
struct Repository {
    root: tempfile::TempDir,
    seen: BTreeMap<String, Fingerprint>,
}

impl Repository {
    fn new(models: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for model in models {
            put(&root.path().join(model).join("1"), "model");
        }
        let mut repository = Self { root, seen: BTreeMap::new() };
        repository.seen = repository.scan().fingerprints;
        repository
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn scan(&self) -> Scan {
        Repositories::new(vec![self.root.path().to_owned()]).scan()
    }

    fn changes_after(&self, time: Duration) -> Vec<Change> {
        changes(&self.seen, &self.scan(), SystemTime::now() + time)
    }

    fn changes(&self) -> Vec<Change> {
        self.changes_after(Duration::from_secs(60))
    }
}

fn put(folder: &Path, content: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("model.onnx"), content).unwrap();
}

fn look(name: &str) -> Change {
    Change::Look(name.to_owned())
}

fn gone(name: &str) -> Change {
    Change::Gone(name.to_owned())
}

#[test]
fn nothing_has_changed() {
    assert_eq!(Repository::new(&["a", "b"]).changes(), []);
}

#[test]
fn new_changed_and_removed_models_are_told() {
    let repository = Repository::new(&["changed", "same", "gone"]);
    put(&repository.path("new/1"), "model");
    put(&repository.path("changed/2"), "model");
    fs::remove_dir_all(repository.path("gone")).unwrap();
    assert_eq!(repository.changes(), [look("changed"), look("new"), gone("gone")]);
}

#[test]
fn a_model_that_is_being_written_is_left_for_the_next_look() {
    let repository = Repository::new(&[]);
    put(&repository.path("m/1"), "half a mod");
    assert_eq!(repository.changes_after(Duration::ZERO), []);
    assert_eq!(repository.changes_after(SETTLED_AFTER), [look("m")]);
}

#[test]
fn a_clock_that_is_ahead_does_not_keep_a_model_out() {
    let now = SystemTime::now();
    assert!(!is_settled(now, now));
    assert!(!is_settled(now + Duration::from_millis(500), now));
    assert!(is_settled(now + Duration::from_secs(3600), now));
    assert!(is_settled(now - SETTLED_AFTER, now));
}

#[test]
fn a_model_that_breaks_is_looked_at_and_not_gone() {
    let repository = Repository::new(&["m"]);
    fs::remove_dir_all(repository.path("m/1")).unwrap();
    fs::write(repository.path("m/model.toml"), "?").unwrap();
    assert_eq!(repository.changes(), [look("m")]);
}

#[test]
fn nothing_is_gone_while_a_repository_cannot_be_read() {
    let repository = Repository::new(&["m"]);
    let elsewhere = Repository::new(&["other"]);
    let missing = repository.path("missing");
    let scan = Repositories::new(vec![missing, elsewhere.root.path().to_owned()]).scan();
    assert_eq!(scan.problems.len(), 1);
    assert_eq!(
        changes(&repository.seen, &scan, SystemTime::now() + Duration::from_secs(60)),
        [look("other")]
    );
}
