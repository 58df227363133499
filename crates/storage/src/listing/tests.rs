use super::*;
use crate::testing::Bucket;

fn listed(bucket: &Bucket, url: &str) -> Listing {
    bucket.block_on(list_all(&bucket.look(), &url.parse().unwrap())).unwrap()
}

fn paths(listing: &Listing) -> Vec<String> {
    let told = |(path, object): (&PathBuf, &Object)| {
        format!("{}{}", path.display(), if object.is_folder { "/" } else { "" })
    };
    listing.objects.iter().map(told).collect()
}

#[test]
fn objects_that_stand_for_folders() {
    let bucket = Bucket::new(&["a/1/model.onnx", "c/config.pbtxt"]);
    for folder in ["a", "a/1", "b", "c/1", "labels.txt"] {
        bucket.put(folder, "");
    }
    let listing = listed(&bucket, "s3://bucket/models");
    assert_eq!(paths(&listing), ["a/1/model.onnx", "b/", "c/1/", "c/config.pbtxt"]);
    assert_eq!(listing.names.iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(listing.notes.is_empty());
}

#[test]
fn an_object_where_a_folder_is_gives_way() {
    let bucket = Bucket::new(&["a/1", "a/1/model.onnx"]);
    let listing = listed(&bucket, "s3://bucket/models");
    assert_eq!(paths(&listing), ["a/1/model.onnx"]);
    let note = listing.notes[0].to_string();
    assert_eq!(note, "s3://bucket/models/a/1: is left out: is an object and a folder at once");
}

#[test]
fn keys_that_are_no_paths_are_left_out_and_told() {
    let bucket = Bucket::new(&["a/1/model.onnx", "a/b\\c", "a/.hidden"]);
    let listing = listed(&bucket, "s3://bucket/models");
    assert_eq!(paths(&listing), ["a/1/model.onnx"]);
    assert_eq!(listing.notes.len(), 1);
    assert!(listing.notes[0].to_string().contains("a control character or a backslash"));
}

#[test]
fn names_alone_are_those_of_a_whole_listing() {
    let bucket = Bucket::new(&[
        "a/1/model.onnx",
        "b/config.pbtxt",
        "loose.onnx",
        "README.md",
        ".git/x",
        "x\\y/1/z",
    ]);
    bucket.put("empty", "");
    bucket.put("a", "");
    for url in [
        "s3://bucket/models",
        "s3://bucket/models/a",
        "s3://bucket/models/b",
        "s3://bucket/none",
        "s3://bucket",
    ] {
        let url: StorageUrl = url.parse().unwrap();
        let names = bucket.block_on(list_names(&bucket.look(), &url)).unwrap();
        let all = bucket.block_on(list_all(&bucket.look(), &url)).unwrap();
        assert_eq!((names.names, names.single), (all.names, all.single), "{url}");
    }
}

#[test]
fn what_begins_alike_lies_elsewhere() {
    let bucket = Bucket::new(&["a/1/model.onnx"]);
    bucket.put("../models2/b/1/model.onnx".trim_start_matches("../"), "x");
    let listing = listed(&bucket, "s3://bucket/model");
    assert!(listing.objects.is_empty(), "{listing:?}");
}
