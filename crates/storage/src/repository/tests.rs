use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use super::*;
use crate::testing::{Bucket, Fault, tree};

const ALL: Mirrored<'static> = Mirrored::All { but: &|_| false };

/// What the mirror holds if each of these files holds its own key.
fn keys(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| format!("{key} = {key}")).collect()
}

fn names(repository: &ObjectRepository) -> Vec<String> {
    repository.list().unwrap().into_iter().collect()
}

#[test]
fn a_mirror_is_what_the_repository_holds() {
    let bucket = Bucket::new(&[
        "a/1/model.onnx",
        "a/config.pbtxt",
        "b.onnx",
        "README.md",
        ".git/x",
        "a/.part",
    ]);
    let repository = bucket.open();
    assert_eq!(names(&repository), ["a", "b"]);
    assert!(tree(repository.folder()).is_empty(), "a listing fetches nothing");
    assert_eq!(repository.mirror(ALL).unwrap(), []);
    assert_eq!(tree(repository.folder()), keys(&["a/1/model.onnx", "a/config.pbtxt", "b.onnx"]));
    let expected = ["models/a/1/model.onnx", "models/a/config.pbtxt", "models/b.onnx"];
    assert_eq!(bucket.store.take_fetched(), expected);
    assert!(repository.folder().ends_with("models"));
}

#[test]
fn only_what_has_changed_is_fetched_and_the_rest_keeps_its_inode() {
    let bucket = Bucket::new(&["a/1/model.onnx", "a/2/model.onnx", "b/1/model.onnx"]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    let inode = |path: &str| fs::metadata(repository.folder().join(path)).unwrap().ino();
    let before = (inode("a/1/model.onnx"), inode("a/2/model.onnx"), inode("b/1/model.onnx"));
    bucket.store.take_fetched();
    repository.mirror(ALL).unwrap();
    assert!(bucket.store.take_fetched().is_empty());
    bucket.put("a/2/model.onnx", "new");
    bucket.put("a/3/model.onnx", "newer");
    bucket.delete("b/1/model.onnx");
    repository.mirror(ALL).unwrap();
    assert_eq!(bucket.store.take_fetched(), ["models/a/2/model.onnx", "models/a/3/model.onnx"]);
    let held = tree(repository.folder());
    let expected = [
        "a/1/model.onnx = a/1/model.onnx",
        "a/2/model.onnx = new",
        "a/3/model.onnx = newer",
    ];
    assert_eq!(held.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(!repository.folder().join("b").exists(), "an empty folder would be no model");
    assert_eq!(inode("a/1/model.onnx"), before.0);
    assert_ne!(inode("a/2/model.onnx"), before.1, "it is another file, not the same one overwritten");
}

#[test]
fn files_have_the_time_of_their_objects() {
    let bucket = Bucket::new(&["a/1/model.onnx"]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    let listing = bucket.block_on(list_all(&bucket.look(), &repository.url)).unwrap();
    let modified = fs::metadata(repository.folder().join("a/1/model.onnx")).unwrap().modified().unwrap();
    assert_eq!(modified, listing.objects[Path::new("a/1/model.onnx")].modified);
}

#[test]
fn single_models_are_mirrored_by_name() {
    let bucket = Bucket::new(&["a/1/model.onnx", "b/1/model.onnx", "ab/1/model.onnx", "c.onnx"]);
    let repository = bucket.open();
    repository.mirror(Mirrored::Named(&["a", "nobody", "..", "a/1", ""])).unwrap();
    assert_eq!(tree(repository.folder()), keys(&["a/1/model.onnx"]));
    repository.mirror(Mirrored::Named(&["c"])).unwrap();
    assert_eq!(tree(repository.folder()), keys(&["a/1/model.onnx", "c.onnx"]));
    assert_eq!(repository.known().into_iter().collect::<Vec<_>>(), ["a", "ab", "b", "c"]);
    bucket.delete("a/1/model.onnx");
    bucket.put("a/2/model.onnx", "a/2/model.onnx");
    repository.mirror(Mirrored::Named(&["a"])).unwrap();
    assert_eq!(tree(repository.folder()), keys(&["a/2/model.onnx", "c.onnx"]));
    bucket.delete("a/2/model.onnx");
    repository.mirror(Mirrored::Named(&["a"])).unwrap();
    assert_eq!(tree(repository.folder()), keys(&["c.onnx"]));
}

#[test]
fn models_that_are_being_read_stay_as_they_are() {
    let bucket = Bucket::new(&["a/1/model.onnx", "b/1/model.onnx"]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    bucket.put("a/1/model.onnx", "new");
    bucket.delete("b/1/model.onnx");
    repository.mirror(Mirrored::All { but: &|_| true }).unwrap();
    assert_eq!(tree(repository.folder()), keys(&["a/1/model.onnx", "b/1/model.onnx"]));
    repository.mirror(Mirrored::All { but: &|name| name == "b" }).unwrap();
    assert!(tree(repository.folder()).contains("a/1/model.onnx = new"));
    assert!(tree(repository.folder()).contains("b/1/model.onnx = b/1/model.onnx"));
}

#[test]
fn a_url_may_name_one_model() {
    let bucket = Bucket::new(&["a/1/model.onnx", "a/config.pbtxt", "b/1/model.onnx"]);
    let repository = bucket.open_at("s3://bucket/models/a");
    assert_eq!(names(&repository), ["a"]);
    repository.mirror(Mirrored::Named(&["b", "1"])).unwrap();
    assert!(tree(repository.folder()).is_empty());
    repository.mirror(Mirrored::Named(&["a"])).unwrap();
    assert_eq!(tree(repository.folder()).len(), 2);
    assert!(repository.folder().ends_with("a"), "a scan takes the folder's name for the model's");
    let repository = bucket.open_at("s3://bucket");
    repository.mirror(ALL).unwrap();
    assert!(repository.folder().join("models/b/1/model.onnx").is_file());
}

#[test]
fn a_model_of_which_not_all_arrives_stays_as_it_was() {
    for fault in [
        Fault::BodyBreaksOff("a/2/data"),
        Fault::BodyIsShort("a/2/data"),
        Fault::Replaced("a/2/data"),
        Fault::Gone("a/2/data"),
    ] {
        let bucket = Bucket::new(&["a/1/model.onnx", "b/1/model.onnx"]);
        let repository = bucket.open();
        repository.mirror(ALL).unwrap();
        for key in ["a/2/model.onnx", "a/2/data", "a/config.pbtxt"] {
            bucket.put(key, key);
        }
        bucket.delete("a/1/model.onnx");
        bucket.store.set(&[fault]);
        let changed = matches!(fault, Fault::Replaced(_) | Fault::Gone(_));
        let outcome = repository.mirror(ALL);
        assert_eq!(outcome.is_ok(), changed, "{fault:?}: {outcome:?}");
        assert_eq!(tree(repository.folder()), keys(&["a/1/model.onnx", "b/1/model.onnx"]), "{fault:?}");
        bucket.store.set(&[]);
        repository.mirror(ALL).unwrap();
        let held = tree(repository.folder());
        let model = keys(&["a/2/model.onnx", "a/config.pbtxt", "b/1/model.onnx"]);
        assert!(
            held.is_superset(&model) && !repository.folder().join("a/1").exists(),
            "{fault:?}: {held:?}"
        );
    }
}

#[test]
fn a_listing_that_breaks_off_takes_nothing_away() {
    let bucket = Bucket::new(&["a/1/model.onnx", "b/1/model.onnx", "c/1/model.onnx"]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    for fault in [Fault::ListingBreaksOff, Fault::Down] {
        bucket.store.set(&[fault]);
        let problem = repository.mirror(ALL).unwrap_err();
        assert!(problem.to_string().starts_with("s3://bucket/models: cannot be read: "), "{problem}");
        assert!(problem.remedy.is_some());
        assert_eq!(tree(repository.folder()).len(), 3);
    }
    assert!(repository.list().is_err());
    assert_eq!(repository.known().len(), 3);
}

#[test]
fn stores_that_do_not_compare_tags_are_read() {
    let bucket = Bucket::new(&["a/1/model.onnx"]);
    bucket.store.set(&[Fault::NoConditions]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    assert_eq!(tree(repository.folder()), keys(&["a/1/model.onnx"]));
}

#[test]
fn bounds_hold() {
    let mut bucket = Bucket::new(&["a/1/model.onnx", "b/1/model.onnx"]);
    bucket.options.max_bytes = 20;
    let repository = bucket.open();
    let problem = repository.mirror(ALL).unwrap_err().to_string();
    assert!(
        problem.contains("take 28 bytes, and 20 are allowed") && problem.contains("storage.max_bytes"),
        "{problem}"
    );
    assert!(bucket.store.take_fetched().is_empty());
    repository.mirror(Mirrored::Named(&["a"])).unwrap();
    let problem = repository.mirror(Mirrored::Named(&["b"])).unwrap_err().to_string();
    assert!(problem.contains("take 28 bytes"), "what is mirrored already counts: {problem}");
    drop(repository);
    bucket.options.mirror_timeout = Duration::from_millis(300);
    bucket.options.max_bytes = 1000;
    bucket.store.set(&[Fault::Hangs("b/1/model.onnx")]);
    let problem = bucket.open().mirror(ALL).unwrap_err().to_string();
    assert!(problem.contains("was not mirrored within 300ms"), "{problem}");
}

#[test]
fn several_objects_are_fetched_at_a_time() {
    let mut bucket = Bucket::new(&[]);
    for index in 0..40 {
        bucket.put(&format!("m{index}/1/model.onnx"), "x");
    }
    bucket.options.max_downloads = 5;
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    assert_eq!(repository.known().len(), 40);
    assert_eq!(bucket.store.most_at_a_time.load(Ordering::Relaxed), 5);
}

#[test]
fn closing_ends_what_is_being_fetched() {
    let bucket = Bucket::new(&["a/1/model.onnx"]);
    bucket.store.set(&[Fault::Hangs("a/1/model.onnx")]);
    let repository = bucket.open();
    std::thread::scope(|scope| {
        let mirroring = scope.spawn(|| repository.mirror(ALL));
        while bucket.store.fetched.lock().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        repository.close();
        let problem = mirroring.join().unwrap().unwrap_err().to_string();
        assert!(problem.contains("the server is stopping"), "{problem}");
    });
    assert!(repository.list().is_err());
}

#[test]
fn what_somebody_changes_in_the_mirror_is_put_right() {
    let bucket = Bucket::new(&["a/1/model.onnx", "a/2/model.onnx", "a/3/model.onnx"]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    let path = |path: &str| repository.folder().join(path);
    fs::remove_file(path("a/1/model.onnx")).unwrap();
    fs::write(path("a/2/model.onnx"), "changed").unwrap();
    repository.mirror(ALL).unwrap();
    assert_eq!(tree(repository.folder()), keys(&["a/1/model.onnx", "a/2/model.onnx", "a/3/model.onnx"]));
}

#[test]
fn the_next_start_has_what_the_last_one_fetched() {
    let bucket = Bucket::new(&["a/1/model.onnx", "b/1/model.onnx"]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    let folder = repository.folder().to_owned();
    let second = bucket.open();
    assert_ne!(second.folder(), folder, "two servers do not share a mirror");
    drop((repository, second));
    bucket.store.take_fetched();
    let repository = bucket.open();
    assert_eq!(repository.folder(), folder);
    repository.mirror(ALL).unwrap();
    assert!(bucket.store.take_fetched().is_empty());
}

#[test]
fn a_crash_in_the_middle_is_put_right_at_the_next_start() {
    let bucket = Bucket::new(&["a/1/model.onnx", "b/1/model.onnx"]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    let folder = repository.folder().to_owned();
    let home = folder.parent().unwrap().parent().unwrap().to_owned();
    drop(repository);
    bucket.store.take_fetched();
    // Renamed, and not written down; a file half fetched; a manifest half written.
    fs::create_dir_all(folder.join("c/1")).unwrap();
    fs::write(folder.join("c/1/model.onnx"), "half").unwrap();
    fs::rename(folder.join("b/1/model.onnx"), folder.join("b/1/other")).unwrap();
    fs::write(home.join("incoming/0123.part"), "half").unwrap();
    fs::write(home.join("manifest.part"), "half").unwrap();
    let repository = bucket.open();
    assert_eq!(tree(&folder), keys(&["a/1/model.onnx"]));
    assert!(tree(&home.join("incoming")).is_empty());
    repository.mirror(ALL).unwrap();
    assert_eq!(tree(&folder), keys(&["a/1/model.onnx", "b/1/model.onnx"]));
    assert_eq!(bucket.store.take_fetched(), ["models/b/1/model.onnx"]);
    drop(repository);
    fs::write(home.join("manifest.json"), "{").unwrap();
    let repository = bucket.open();
    assert!(tree(&folder).is_empty(), "without a manifest nothing is known");
    repository.mirror(ALL).unwrap();
    assert_eq!(tree(&folder).len(), 2);
}

/// Set in the process whose files may not grow.
const SMALL_DISK: &str = "ADULIS_TEST_SMALL_DISK";

/// A limit of the size of files, which needs no rights, is what a full disk is. It is the process's: so there is one for it.
#[test]
fn a_full_disk_fails_the_fetch_and_what_was_there_stays() {
    if std::env::var_os(SMALL_DISK).is_none() {
        let words = "trap '' XFSZ; ulimit -f 16; exec \"$@\"";
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", words, "sh"])
            .arg(std::env::current_exe().unwrap())
            .env(SMALL_DISK, "1");
        command.args([
            "--exact",
            "repository::tests::a_full_disk_fails_the_fetch_and_what_was_there_stays",
        ]);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
        return;
    }
    let bucket = Bucket::new(&["a/1/model.onnx", "b/1/model.onnx"]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    // Twice what fits.
    bucket.put("a/1/model.onnx", &"x".repeat(16 << 10));
    bucket.put("c/1/model.onnx", &"x".repeat(16 << 10));
    let error = repository.mirror(ALL).unwrap_err();
    assert!(causes_of(&error).contains("File too large"), "{}", causes_of(&error));
    assert_eq!(tree(repository.folder()), keys(&["a/1/model.onnx", "b/1/model.onnx"]));
    // What fits comes, and the rest when there is room.
    bucket.put("a/1/model.onnx", "short");
    bucket.put("d/1/model.onnx", "d/1/model.onnx");
    bucket.delete("c/1/model.onnx");
    repository.mirror(ALL).unwrap();
    let mut expected = keys(&["b/1/model.onnx", "d/1/model.onnx"]);
    expected.insert("a/1/model.onnx = short".to_owned());
    assert_eq!(tree(repository.folder()), expected);
}

/// An error and all that it came from.
fn causes_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn what_was_fetched_before_a_fault_is_not_fetched_again() {
    let mut bucket = Bucket::new(&["a/1/a.bin", "a/1/model.onnx", "a/1/z.bin"]);
    bucket.options.max_downloads = 1;
    bucket.store.set(&[Fault::BodyBreaksOff("a/1/z.bin")]);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap_err();
    bucket.store.set(&[]);
    bucket.store.take_fetched();
    drop(repository);
    let repository = bucket.open();
    repository.mirror(ALL).unwrap();
    assert_eq!(bucket.store.take_fetched(), ["models/a/1/z.bin"]);
    let incoming = repository.folder().parent().unwrap().parent().unwrap().join("incoming");
    assert!(tree(&incoming).is_empty());
}

#[test]
fn a_listing_is_shared_by_all_who_waited_for_it() {
    let bucket = Bucket::new(&["a/1/model.onnx"]);
    let repository = bucket.open();
    assert_eq!(names(&repository), ["a"]);
    bucket.put("b/1/model.onnx", "");
    assert_eq!(names(&repository), ["a", "b"], "whoever asks later sees what is there later");
}
