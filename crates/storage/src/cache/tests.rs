use std::os::unix::fs::PermissionsExt;

use super::*;

fn url(text: &str) -> StorageUrl {
    text.parse().unwrap()
}

#[test]
fn each_server_and_each_repository_has_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/cache");
    let open = |text: &str| Cache::open(&root, &url(text)).unwrap();
    let first = open("s3://bucket/models");
    let (second, other) = (open("s3://bucket/models"), open("s3://other/models"));
    assert!(first.tree() != second.tree() && first.tree() != other.tree());
    assert!(first.tree().ends_with("models") && other.tree().ends_with("models"));
    let mode = fs::metadata(&root).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else's business");
    let home = first.tree().to_owned();
    drop(first);
    assert_eq!(open("s3://bucket/models").tree(), home);
}

#[test]
fn too_many_servers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Cache::open(folder.path(), &url("s3://b"));
    let held: Vec<Cache> = (0..MAX_MIRRORS).map(|_| open().unwrap()).collect();
    assert!(open().unwrap_err().to_string().contains("64 servers mirror it there already"));
    drop(held);
}

#[test]
fn digests_are_of_texts_not_of_their_sum() {
    assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    assert_eq!(digest(&[b"ab"]).len(), 64);
}
