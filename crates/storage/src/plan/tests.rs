use std::fs;
use std::time::UNIX_EPOCH;

use super::*;
use crate::manifest::Entry;

const ALL: Mirrored<'static> = Mirrored::All { but: &|_| false };

fn object(key: &str, e_tag: &str) -> Object {
    Object {
        key: key.into(),
        size: 1,
        e_tag: Some(e_tag.to_owned()),
        modified: UNIX_EPOCH,
        is_folder: false,
    }
}

/// A tree with these files, each one byte, with the tag `old`; and a listing.
fn scene(held: &[&str], listed: &[(&str, &str)]) -> (tempfile::TempDir, Manifest, Listing) {
    let tree = tempfile::tempdir().unwrap();
    let mut manifest = Manifest::default();
    for path in held {
        let file = tree.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "x").unwrap();
        manifest.entries.insert(path.into(), Entry::of(&object(path, "old"), &file).unwrap());
    }
    let objects = listed.iter().map(|(path, e_tag)| (PathBuf::from(path), object(path, e_tag))).collect();
    (tree, manifest, Listing { objects, ..Listing::default() })
}

fn told(plans: &BTreeMap<String, ModelPlan>) -> Vec<String> {
    let tell = |(model, plan): (&String, &ModelPlan)| {
        let fetch = plan.fetch.iter().map(|(path, _)| format!(" +{}", path.display()));
        let remove = plan.remove.iter().map(|path| format!(" -{}", path.display()));
        format!("{model}{}", fetch.chain(remove).collect::<String>())
    };
    plans.iter().map(tell).collect()
}

#[test]
fn plans_by_model() {
    let (tree, manifest, listing) = scene(
        &["a/1/m", "a/2/m", "b/1/m", "c/1/m", "loose.onnx"],
        &[
            ("a/1/m", "old"),
            ("a/2/m", "new"),
            ("a/3/m", "new"),
            ("c/1/m", "old"),
            ("d.onnx", "new"),
        ],
    );
    let of = |models| told(&plan(&listing, &manifest, tree.path(), models));
    assert_eq!(of(ALL), ["a +a/2/m +a/3/m", "b -b/1/m", "d +d.onnx", "loose -loose.onnx"]);
    assert_eq!(of(Mirrored::Named(&["b", "c"])), ["b -b/1/m"]);
    assert_eq!(of(Mirrored::All { but: &|name| name != "d" }), ["d +d.onnx"]);
    fs::write(tree.path().join("c/1/m"), "changed").unwrap();
    assert_eq!(of(Mirrored::Named(&["c"])), ["c +c/1/m"]);
}

#[test]
fn bytes_are_counted_with_what_is_there_already() {
    let (_tree, manifest, listing) =
        scene(&["a/1/m", "b/1/m", "c/1/m"], &[("a/1/m", "new"), ("a/2/m", "new")]);
    assert_eq!(total_bytes(&listing, &manifest, ALL), 2);
    assert_eq!(total_bytes(&listing, &manifest, Mirrored::Named(&["a"])), 4);
    assert_eq!(total_bytes(&listing, &manifest, Mirrored::Named(&["a", "b"])), 3);
}
