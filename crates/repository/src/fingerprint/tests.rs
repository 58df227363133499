use std::fs::File;
use std::time::Duration;

use super::*;

fn model() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for version in ["1", "2"] {
        fs::create_dir(root.path().join(version)).unwrap();
        fs::write(root.path().join(version).join("model.onnx"), "model").unwrap();
    }
    fs::write(root.path().join("model.toml"), "max_batch_size = 4").unwrap();
    root
}

/// What differs after `change`: version 1, version 2.
fn differs(change: impl FnOnce(&Path)) -> [bool; 2] {
    let root = model();
    let before = Fingerprint::of(root.path());
    assert_eq!(before, Fingerprint::of(root.path()), "nothing has changed");
    change(root.path());
    let after = Fingerprint::of(root.path());
    assert_ne!(before, after);
    [1, 2].map(|version| before.version(version) != after.version(version))
}

/// Written over in place, with the length and the time of modification that it had: only the time of change tells.
fn write_over(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    // Changes within one tick of the file system's clock look alike.
    std::thread::sleep(Duration::from_millis(20));
    fs::write(path, "ledom").unwrap();
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn a_change_concerns_the_versions_whose_files_it_touches() {
    assert_eq!(differs(|root| write_over(&root.join("1/model.onnx"))), [true, false]);
    assert_eq!(differs(|root| fs::write(root.join("2/weights.bin"), "w").unwrap()), [false, true]);
    assert_eq!(differs(|root| fs::remove_dir_all(root.join("2")).unwrap()), [false, true]);
    assert_eq!(differs(|root| fs::create_dir(root.join("3")).unwrap()), [false, false]);
    let replaced = |root: &Path| {
        fs::write(root.join("new"), "model").unwrap();
        fs::rename(root.join("new"), root.join("2/model.onnx")).unwrap();
    };
    assert_eq!(differs(replaced), [false, true]);
}

#[test]
fn what_all_versions_share_concerns_them_all() {
    assert_eq!(differs(|root| fs::write(root.join("model.toml"), "").unwrap()), [true, true]);
    assert_eq!(differs(|root| fs::write(root.join("labels.txt"), "a").unwrap()), [true, true]);
    let deep = |root: &Path| {
        fs::create_dir_all(root.join("warmup/deep")).unwrap();
        fs::write(root.join("warmup/deep/row"), "r").unwrap();
    };
    assert_eq!(differs(deep), [true, true]);
}

#[test]
fn hidden_files_do_not_count() {
    let root = model();
    let before = Fingerprint::of(root.path());
    fs::write(root.path().join("1/.model.onnx.part"), "half").unwrap();
    assert_eq!(before.version(1), Fingerprint::of(root.path()).version(1));
}

#[test]
fn a_file_is_a_model_of_one_version() {
    let root = model();
    let path = root.path().join("1/model.onnx");
    let before = Fingerprint::of(&path);
    write_over(&path);
    assert_ne!(before.version(1), Fingerprint::of(&path).version(1));
    fs::remove_file(&path).unwrap();
    assert_ne!(before, Fingerprint::of(&path));
}

#[test]
fn links_in_circles_end() {
    let root = model();
    std::os::unix::fs::symlink(root.path(), root.path().join("circle")).unwrap();
    let first = Fingerprint::of(root.path());
    assert_eq!(first, Fingerprint::of(root.path()));
}

#[test]
fn the_newest_change_is_told_even_if_times_are_kept() {
    let root = model();
    let before = Fingerprint::of(root.path()).newest();
    assert!(SystemTime::now().duration_since(before).unwrap() < Duration::from_secs(60));
    write_over(&root.path().join("1/model.onnx"));
    assert!(Fingerprint::of(root.path()).newest() > before);
}
