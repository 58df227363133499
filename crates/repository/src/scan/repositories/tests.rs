use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::Problem;

/// A repository whose models are empty files; they come into the folder when they are mirrored.
#[derive(Debug)]
struct Elsewhere {
    folder: tempfile::TempDir,
    models: BTreeSet<String>,
    down: AtomicBool,
}

impl Elsewhere {
    fn new(models: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            folder: tempfile::tempdir().unwrap(),
            models: models.iter().map(|&name| name.to_owned()).collect(),
            down: AtomicBool::new(false),
        })
    }

    fn answer(&self) -> Result<(), Problem> {
        let down = self.down.load(Ordering::Relaxed);
        if down { Err(Problem::of_path(self.url(), "is down")) } else { Ok(()) }
    }

    fn mirrored(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl RemoteRepository for Elsewhere {
    fn url(&self) -> &str {
        "s3://bucket/models"
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn list(&self) -> Result<BTreeSet<String>, Problem> {
        self.answer().map(|()| self.models.clone())
    }

    fn known(&self) -> BTreeSet<String> {
        self.models.clone()
    }

    fn mirror(&self, models: Mirrored<'_>) -> Result<Vec<Problem>, Problem> {
        self.answer()?;
        for name in self.models.iter().filter(|name| models.wants(name)) {
            let version = self.folder.path().join(name).join("1");
            fs::create_dir_all(&version).unwrap();
            if name != "broken" {
                fs::write(version.join("model.onnx"), "").unwrap();
            }
        }
        Ok(Vec::new())
    }

    fn close(&self) {
        self.down.store(true, Ordering::Relaxed);
    }
}

fn with(remote: &Arc<Elsewhere>, local: &Path) -> Repositories {
    let mut repositories = Repositories::new(vec![local.to_owned()]);
    repositories.add_remote(Arc::clone(remote) as _);
    repositories
}

fn local_model(root: &Path, name: &str) {
    fs::create_dir_all(root.join(name).join("1")).unwrap();
    fs::write(root.join(name).join("1/model.onnx"), "").unwrap();
}

fn found(scan: &Scan) -> Vec<&str> {
    scan.models.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn only_what_is_asked_for_is_mirrored() {
    let (remote, local) = (Elsewhere::new(&["a", "b", "c"]), tempfile::tempdir().unwrap());
    local_model(local.path(), "d");
    let repositories = with(&remote, local.path());
    let scan = repositories.scan_local();
    assert_eq!((found(&scan), remote.mirrored().len()), (vec!["d"], 0));
    assert!(scan.problems.is_empty());
    let scan = repositories.scan_named(&["nobody"]);
    assert!(scan.empty.is_empty(), "nothing was asked for that is there: {:?}", scan.empty);
    assert_eq!(found(&repositories.find("b", None)), ["b"]);
    assert_eq!(remote.mirrored(), ["b"]);
    assert_eq!(found(&repositories.scan_named(&["a", "d"])), ["a", "d"]);
    assert_eq!(remote.mirrored(), ["a", "b"]);
    assert_eq!(found(&repositories.scan_but(&|name| name == "c")), ["a", "b", "d"]);
    assert_eq!(found(&repositories.scan()), ["a", "b", "c", "d"]);
    let names = repositories.names();
    assert_eq!(names["c"], Path::new("s3://bucket/models"));
    assert_eq!(names["d"], local.path());
    assert!(repositories.has("c") && repositories.has("d") && !repositories.has("e"));
}

#[test]
fn problems_name_the_url() {
    let (remote, local) = (Elsewhere::new(&["broken"]), tempfile::tempdir().unwrap());
    let repositories = with(&remote, local.path());
    let scan = repositories.scan();
    let problem = &scan.model("broken").unwrap().unwrap_err()[0];
    assert_eq!(problem.path, Path::new("s3://bucket/models/broken/1/model.onnx"));
    let of = |path: &Path| repositories.named(path);
    assert_eq!(of(remote.folder()), Path::new("s3://bucket/models"));
    assert_eq!(of(remote.folder().parent().unwrap()), Path::new("s3://bucket"));
    assert_eq!(of(local.path()), local.path());
}

#[test]
fn while_it_cannot_be_read_all_that_was_mirrored_is_told_and_no_single_model_is_found() {
    let (remote, local) = (Elsewhere::new(&["a"]), tempfile::tempdir().unwrap());
    let repositories = with(&remote, local.path());
    assert_eq!(found(&repositories.scan()), ["a"]);
    repositories.close();
    let scan = repositories.scan();
    assert_eq!((found(&scan), scan.problems.len()), (vec!["a"], 1));
    let scan = repositories.find("a", None);
    assert!(scan.model("a").is_none() && scan.problems.len() == 1);
    assert_eq!(repositories.scan_local().problems.len(), 1);
    assert!(repositories.has("a") && repositories.names().contains_key("a"));
}
