use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::*;

/// A folder tree from paths: those that end with `/` are folders, the others files with the text behind ` = `.
fn tree(paths: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for line in paths {
        let (path, text) = line.split_once(" = ").unwrap_or((line, ""));
        let full = root.path().join(path);
        if path.ends_with('/') {
            fs::create_dir_all(full).unwrap();
        } else {
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(full, text).unwrap();
        }
    }
    root
}

/// What was found, with the root's path taken out: `name v1=path …`, then what failed, problems and notes.
fn told(root: &Path, paths: &[&str]) -> Vec<String> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| root.join(path)).collect();
    let scan = scan(&paths);
    let mut lines = Vec::new();
    for model in &scan.models {
        assert_eq!(model.name, model.config.name);
        let versions = model.versions.iter();
        let versions = versions.map(|version| format!(" v{}={}", version.version, version.path.display()));
        lines.push(format!("{}{}", model.name, versions.collect::<String>()));
    }
    for failed in &scan.failed {
        for problem in &failed.problems {
            assert_eq!(problem.model.as_deref(), Some(failed.name.as_str()));
            lines.push(format!("failed {}: {problem}", failed.name));
        }
    }
    lines.extend(scan.problems.iter().map(|problem| format!("problem {problem}")));
    lines.extend(scan.empty.iter().map(|empty| format!("empty {empty}")));
    lines.extend(scan.notes.iter().map(|note| format!("note {note}")));
    let prefix = format!("{}/", root.display());
    lines.iter().map(|line| line.replace(&prefix, "")).collect()
}

#[test]
fn model_files() {
    let root = tree(&[
        "foo.onnx",
        "digits/1/model.onnx",
        "digits/2/model.onnx",
        "digits/config.pbtxt = max_batch_size: 4",
        "flat/model.onnx",
        "7/odd.onnx",
        "readme.txt",
    ]);
    assert_eq!(
        told(
            root.path(),
            &[
                "foo.onnx",
                "digits/1/model.onnx",
                "flat/model.onnx",
                "readme.txt",
                "gone.onnx"
            ]
        ),
        [
            "digits v1=digits/1/model.onnx",
            "flat v1=flat/model.onnx",
            "foo v1=foo.onnx",
            "problem readme.txt: is not a model: expected a folder or a file named *.onnx",
            "problem gone.onnx: is not there",
        ]
    );
    let found = scan(&[root.path().join("digits/2/model.onnx")]);
    assert_eq!(found.models[0].config.max_batch_size, Some(4));
}

#[test]
fn a_bare_model_file_stands_for_itself() {
    assert_eq!(model::home_of(Path::new("model.onnx")), None);
    assert_eq!(model::home_of(Path::new("./model.onnx")), None);
    assert_eq!(model::home_of(Path::new("1/model.onnx")), None);
    assert_eq!(model::home_of(Path::new("/model.onnx")), None);
    assert_eq!(model::home_of(Path::new("a/b.onnx")), None);
    assert_eq!(model::home_of(Path::new("a/model.onnx")), Some((Path::new("a"), 1)));
    assert_eq!(model::home_of(Path::new("/a/12/b.onnx")), Some((Path::new("/a"), 12)));
}

#[test]
fn repositories() {
    let root = tree(&[
        "repo/a/1/model.onnx",
        "repo/a/10/model.onnx",
        "repo/a/9/model.onnx",
        "repo/b/model.onnx",
        "repo/c/1/model.onnx/model.onnx",
        "repo/c/1/model.onnx/weights.bin",
        "repo/d/model.toml = backend = 'identity'",
        "repo/e/config.pbtxt = default_model_filename: 'net.onnx' version_policy { all {} }",
        "repo/e/1/net.onnx",
        "repo/e/3/net.onnx",
        "repo/loose.onnx",
        "repo/.hidden/1/model.onnx",
        "repo/pictures/cat.png",
        "repo/README.md",
    ]);
    assert_eq!(
        told(root.path(), &["repo"]),
        [
            "a v10=repo/a/10/model.onnx",
            "b v1=repo/b/model.onnx",
            "c v1=repo/c/1/model.onnx/model.onnx",
            "d v1=repo/d",
            "e v1=repo/e/1/net.onnx v3=repo/e/3/net.onnx",
            "loose v1=repo/loose.onnx",
            "note repo/pictures: holds no model: no version folder, no model.onnx and no configuration",
        ]
    );
    assert_eq!(told(root.path(), &["repo/a"]), ["a v10=repo/a/10/model.onnx"]);
}

#[test]
fn repositories_without_a_model() {
    let root = tree(&[
        "none/",
        "pictures/cat.png",
        "nested/deeper/a/1/model.onnx",
        "one/a/1/model.onnx",
    ]);
    let empty = |path: &str| {
        format!(
            "empty {path}: no model was found in this folder; expected MODEL/1/model.onnx, MODEL/model.onnx, MODEL with \
             a config.pbtxt or model.toml, or loose *.onnx files in it"
        )
    };
    assert_eq!(told(root.path(), &["none", "pictures"]), [empty("none"), empty("pictures")]);
    let inner = "note nested/deeper: holds no model: no version folder, no model.onnx and no configuration";
    assert_eq!(told(root.path(), &["nested"]), [empty("nested"), inner.to_owned()]);
    assert!(scan(&[root.path().join("one")]).empty.is_empty());
}

#[test]
fn a_repository_of_names_that_another_has_too_is_not_empty() {
    let root = tree(&["one/a/1/model.onnx", "two/a/1/model.onnx"]);
    let scan = scan(&["one", "two"].map(|path| root.path().join(path)));
    assert_eq!((scan.failed.len(), scan.empty), (1, Vec::new()));
}

#[test]
fn version_folders() {
    let root = tree(&[
        "m/0/model.onnx",
        "m/01/model.onnx",
        "m/2/model.onnx",
        "m/v3/model.onnx",
        "m/99999999999999999999/model.onnx",
        "m/model.onnx",
        "m/5",
    ]);
    assert_eq!(
        told(root.path(), &["m"]),
        [
            "m v2=m/2/model.onnx",
            "note m/model.onnx: is ignored: there are version folders beside it"
        ]
    );
}

#[test]
fn broken_models_stop_no_other() {
    let root = tree(&[
        "repo/good/1/model.onnx",
        "repo/empty_version/1/",
        "repo/renamed/1/resnet.onnx",
        "repo/renamed_flat/resnet.onnx",
        "repo/no_file/config.pbtxt = backend: 'onnxruntime'",
        "repo/both/config.pbtxt",
        "repo/both/model.toml",
        "repo/both/1/model.onnx",
        "repo/typo/config.pbtxt = max_batch: 3",
        "repo/typo/1/model.onnx",
        "repo/specific/model.toml = version_policy = { specific = [1, 4] }",
        "repo/specific/1/model.onnx",
        "repo/specific/2/model.onnx",
        "repo/badly\nnamed/1/model.onnx",
    ]);
    insta::assert_snapshot!(told(root.path(), &["repo"]).join("\n"));
}

#[test]
fn a_name_that_is_there_twice_fails_in_both_places() {
    let root = tree(&[
        "x/m/1/model.onnx",
        "y/m/1/model.onnx",
        "y/m.onnx",
        "y/n/1/model.onnx",
    ]);
    assert_eq!(
        told(root.path(), &["x", "y", "x"]),
        [
            "n v1=y/n/1/model.onnx",
            "failed m: x/m: another model has the name \"m\" too: y/m, y/m.onnx; rename one of them, or leave it out",
            "failed m: y/m: another model has the name \"m\" too: x/m, y/m.onnx; rename one of them, or leave it out",
            "failed m: y/m.onnx: another model has the name \"m\" too: x/m, y/m; rename one of them, or leave it out",
            "note x: is named twice",
        ]
    );
}

#[test]
fn one_model_that_is_named_in_two_ways_is_one_model() {
    let root = tree(&["x/m/1/model.onnx", "x/n.onnx"]);
    assert_eq!(
        told(root.path(), &["x", "x/m", "x/n.onnx"]),
        [
            "m v1=x/m/1/model.onnx",
            "n v1=x/n.onnx",
            "note x/m: is named twice",
            "note x/n.onnx: is named twice",
        ]
    );
}

fn named(root: &Path, paths: &[&str]) -> Repositories {
    Repositories::new(paths.iter().map(|path| root.join(path)).collect())
}

#[test]
fn one_model_is_found_by_its_name_and_no_other_is_read() {
    let root = tree(&[
        "x/good/1/model.onnx",
        "x/bad/1/",
        "x/loose.onnx",
        "x/twice/1/model.onnx",
        "y/twice/1/model.onnx",
        "direct/1/model.onnx",
        "file.onnx",
    ]);
    let repositories = named(root.path(), &["x", "y", "direct", "file.onnx"]);
    for name in ["good", "loose", "direct", "file"] {
        let scan = repositories.find(name, None);
        assert_eq!(scan.model(name).unwrap().unwrap().versions.len(), 1);
        assert_eq!((scan.models.len(), scan.failed.len()), (1, 0), "{name}");
        assert_eq!(scan.fingerprints.keys().collect::<Vec<_>>(), [name]);
    }
    let scan = repositories.find("bad", None);
    assert!(scan.model("bad").unwrap().is_err() && scan.models.is_empty());
    assert!(scan.fingerprints.contains_key("bad"), "a broken model is looked at again when it changes");
    let problems = repositories.find("twice", None).model("twice").unwrap().unwrap_err().to_vec();
    for place in ["x/twice", "y/twice"] {
        assert!(problems.iter().any(|problem| problem.path.ends_with(place)), "{problems:?}");
    }
    for name in ["nobody", "", "..", "x", "good/1"] {
        let scan = repositories.find(name, None);
        assert!(scan.model(name).is_none(), "{name:?}");
        assert!(scan.problems.is_empty() && scan.empty.is_empty());
    }
}

#[test]
fn a_configuration_can_stand_in_for_the_models_own() {
    let root = tree(&[
        "x/m/1/model.onnx",
        "x/m/2/other.onnx",
        "x/m/config.pbtxt = ?",
        "x/n.onnx",
    ]);
    let repositories = named(root.path(), &["x"]);
    assert!(repositories.find("m", None).model("m").unwrap().is_err());
    let config =
        br#"{"max_batch_size": 3, "default_model_filename": "other.onnx", "version_policy": {"all": {}}}"#;
    let scan = repositories.find("m", Some(config));
    let problems = scan.model("m").unwrap().unwrap_err();
    assert!(problems[0].to_string().contains("m/1/other.onnx: is not there"), "{problems:?}");
    let config = br#"{"max_batch_size": 3, "default_model_filename": "other.onnx"}"#;
    let scan = repositories.find("m", Some(config));
    let entry = scan.model("m").unwrap().unwrap();
    assert_eq!(entry.config.max_batch_size, Some(3));
    assert_eq!(entry.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [2]);
    let scan = repositories.find("n", Some(br#"{"max_batch_size": 3}"#));
    assert_eq!(scan.models[0].config.max_batch_size, Some(3));
    for name in ["m", "n"] {
        let scan = repositories.find(name, Some(br#"{"max_batch_sice": 3}"#));
        let problem = &scan.model(name).unwrap().unwrap_err()[0];
        assert_eq!(problem.model.as_deref(), Some(name));
        assert!(problem.to_string().starts_with("config in the request: max_batch_sice: "), "{problem}");
    }
}

#[test]
fn a_configuration_that_stands_in_reaches_nothing_beside_the_model() {
    let root = tree(&[
        "x/m/1/model.onnx",
        "x/m/model.toml = parameters = { lookup = '[]', 'session.load_model_format' = 'ONNX' }",
        "x/n.onnx",
    ]);
    let repositories = named(root.path(), &["x"]);
    assert!(repositories.find("m", None).model("m").unwrap().is_ok(), "it is the model's own");
    let config = br#"{"parameters": {"lookup": {"string_value": "[]"}, "session.load_model_format": {"string_value": "ONNX"}}}"#;
    for name in ["m", "n"] {
        let scan = repositories.find(name, Some(config));
        let told: Vec<String> =
            scan.model(name).unwrap().unwrap_err().iter().map(ToString::to_string).collect();
        let (lookup, entry) = (
            "config in the request: parameters.lookup: is taken from the configuration in the model's folder",
            "config in the request: parameters.session.load_model_format: is taken from",
        );
        assert!(told.len() == 2 && told[0].starts_with(lookup) && told[1].starts_with(entry), "{told:?}");
    }
}

#[test]
fn names_are_told_with_their_repositories() {
    let root = tree(&[
        "x/a/1/model.onnx",
        "x/b.onnx",
        "x/.hidden/",
        "x/readme.txt",
        "y/c/1/model.onnx",
        "z/d/2/model.onnx",
        "e.onnx",
    ]);
    let paths = ["x", "y/c", "z/d/2/model.onnx", "e.onnx", "gone"];
    let names = named(root.path(), &paths).names();
    let names: Vec<(&str, &Path)> =
        names.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect();
    let at = |path: &str| root.path().join(path);
    let (x, y, z) = (at("x"), at("y"), at("z"));
    assert_eq!(names, [("a", &*x), ("b", &*x), ("c", &*y), ("d", &*z), ("e", root.path()),]);
}

#[test]
fn a_configuration_is_bounded() {
    let root = tree(&["m/1/model.onnx"]);
    fs::write(root.path().join("m/model.toml"), "#".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(
        told(root.path(), &["m"]),
        ["failed m: m/model.toml: cannot be read: it is larger than 1 MiB"]
    );
    fs::write(root.path().join("m/model.toml"), [0xff, 0xfe]).unwrap();
    assert!(told(root.path(), &["m"])[0].contains("cannot be read"));
}

#[cfg(unix)]
#[test]
fn links_must_not_lead_out_of_a_repository() {
    use std::os::unix::fs::symlink;

    let root = tree(&[
        "repo/in/1/model.onnx",
        "repo/file/1/",
        "repo/config/1/model.onnx",
        "out/1/model.onnx",
    ]);
    let path = |path: &str| root.path().join(path);
    symlink(path("out"), path("repo/folder")).unwrap();
    symlink(path("repo/in"), path("repo/inside")).unwrap();
    symlink(path("out/1/model.onnx"), path("repo/file/1/model.onnx")).unwrap();
    symlink(path("out/secret"), path("repo/config/model.toml")).unwrap();
    symlink(path("out/1/model.onnx"), path("repo/loose.onnx")).unwrap();
    symlink(path("out/1/model.onnx"), path("named.onnx")).unwrap();
    insta::assert_snapshot!(told(root.path(), &["repo", "named.onnx"]).join("\n"));
}

#[cfg(unix)]
#[test]
fn nothing_behind_a_link_out_of_a_repository_is_told() {
    let root = tree(&["repo/", "out/1/model.onnx"]);
    fs::write(root.path().join("out/config.pbtxt"), "name: \"secret\"\nno_such_key: 1").unwrap();
    std::os::unix::fs::symlink(root.path().join("out"), root.path().join("repo/alias")).unwrap();
    let told = told(root.path(), &["repo"]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("failed alias: repo/alias: is a link that leads out"), "{told:?}");
    assert!(!told[0].contains("secret") && !told[0].contains("no_such_key"), "{told:?}");
}

thread_local! {
    /// Folders listed and configurations read on this thread, which is what a scan costs.
    static WORK: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// Counts that a folder is listed.
pub(super) fn listed() {
    WORK.set((WORK.get().0 + 1, WORK.get().1));
}

/// Counts that a configuration is opened.
pub(super) fn opened() {
    WORK.set((WORK.get().0, WORK.get().1 + 1));
}

#[test]
fn a_thousand_models_cost_two_listings_and_a_read_each() {
    const MODELS: usize = 1381;
    let root = tempfile::tempdir().unwrap();
    for index in 0..MODELS {
        let model = root.path().join(format!("model_{index}"));
        fs::create_dir_all(model.join("1")).unwrap();
        fs::write(model.join("1/model.onnx"), "").unwrap();
        let config = "max_batch_size: 8\ninput [ { name: 'x' data_type: TYPE_FP32 dims: 1 } ]";
        fs::write(model.join("config.pbtxt"), config).unwrap();
    }
    let paths = [root.path().to_owned()];
    WORK.set((0, 0));
    assert_eq!(scan(&paths).models.len(), MODELS);
    // Once to see that it is a model's, once to read it; nothing of one model is looked at for another.
    assert_eq!(WORK.get(), (1 + 2 * MODELS, MODELS));
    let repositories = Repositories::new(paths.to_vec());
    WORK.set((0, 0));
    assert_eq!(repositories.find("model_7", None).models.len(), 1);
    assert_eq!(WORK.get(), (3, 1), "one model is found without a look at the others");
}
