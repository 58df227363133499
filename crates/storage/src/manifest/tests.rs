use super::*;

fn object(e_tag: Option<&str>, size: u64, milliseconds: u64) -> Object {
    Object {
        key: "k".into(),
        size,
        e_tag: e_tag.map(str::to_owned),
        modified: UNIX_EPOCH + std::time::Duration::from_millis(milliseconds),
        is_folder: false,
    }
}

#[test]
fn tags_tell_what_has_changed_and_times_where_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    fs::write(&file, "12345").unwrap();
    let tagged = Entry::of(&object(Some("x"), 5, 1), &file).unwrap();
    assert!(tagged.is_of(&object(Some("x"), 5, 2)), "the same content, written again");
    assert!(!tagged.is_of(&object(Some("y"), 5, 1)));
    assert!(!tagged.is_of(&object(Some("x"), 6, 1)));
    let untagged = Entry::of(&object(None, 5, 1), &file).unwrap();
    assert!(untagged.is_of(&object(None, 5, 1)));
    assert!(!untagged.is_of(&object(None, 5, 2)));
    assert!(!untagged.is_of(&Object { is_folder: true, ..object(None, 5, 1) }));
}

#[test]
fn files_are_known_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    fs::write(&file, "12345").unwrap();
    let entry = Entry::of(&object(None, 5, 1), &file).unwrap();
    assert!(entry.is_at(&file));
    fs::copy(&file, folder.path().join("g")).unwrap();
    fs::rename(folder.path().join("g"), &file).unwrap();
    assert!(!entry.is_at(&file), "another file with the same content");
    fs::remove_file(&file).unwrap();
    assert!(!entry.is_at(&file));
    fs::create_dir(&file).unwrap();
    assert!(!entry.is_at(&file));
    let folder_object = Object { is_folder: true, ..object(None, 0, 1) };
    assert!(Entry::of(&folder_object, &file).unwrap().is_at(&file));
}

#[test]
fn what_is_written_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let (file, path) = (folder.path().join("f"), folder.path().join("manifest.json"));
    fs::write(&file, "").unwrap();
    let mut manifest = Manifest::read(&path, "s3://b");
    let entry = Entry::of(&object(Some("\"t\""), 0, 1), &file).unwrap();
    manifest.entries.insert("a/ü".into(), entry);
    manifest.write(&path).unwrap();
    assert_eq!(Manifest::read(&path, "s3://b"), manifest);
    assert!(Manifest::read(&path, "s3://other").entries.is_empty());
    fs::write(&path, "{\"url\":\"s3://b\",\"entries\":{\"../x\":3}}").unwrap();
    assert!(Manifest::read(&path, "s3://b").entries.is_empty());
}
