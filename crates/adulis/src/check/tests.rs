use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::Settings;
use crate::config::Config;

fn args(paths: &[PathBuf]) -> CheckArgs {
    CheckArgs {
        paths: paths.to_vec(),
        load: false,
        config: None,
        engine: Vec::new(),
        json: false,
    }
}

/// A server with the engine that needs no library.
fn server(paths: &[PathBuf]) -> impl FnOnce() -> Result<Adulis, BuildError> {
    let settings = Settings { backend_order: vec!["tract".into()], ..Settings::default() };
    let builder = paths
        .iter()
        .fold(Adulis::builder().settings(settings), |builder, path| builder.models(path));
    || builder.build()
}

fn run(args: &CheckArgs, root: &Path) -> (u8, String) {
    let mut out = Vec::new();
    let code = check(args, &Config::default(), server(&args.paths), &mut out).unwrap();
    (code, String::from_utf8(out).unwrap().replace(&format!("{}/", root.display()), ""))
}

/// Two repositories with one of each kind.
fn repositories() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for path in [
        "one/good/1",
        "one/good/12",
        "one/bad/1",
        "two/ensemble",
        "two/odd",
        "two/sequence/1",
    ] {
        fs::create_dir_all(root.path().join(path)).unwrap();
    }
    let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
    write("one/good/1/model.onnx", "");
    write("one/good/12/model.onnx", "");
    write("one/good/model.toml", "version_policy = 'all'\nmetric_tags = { team = 'blue' }");
    write("one/bad/model.toml", "max_batch_size = -1\n\ninptu = []");
    write("two/odd/config.pbtxt", "input { name: 'x' data_type: FP32 }");
    write("two/sequence/1/model.onnx", "");
    write("two/sequence/config.pbtxt", "sequence_batching {}");
    write(
        "two/ensemble/model.toml",
        "ensemble_scheduling.step = [{ model_name = 'goood', input_map.x = 'a', output_map.y = 'b' }]\n\
         input = [{ name = 'a', data_type = 'FP32' }]\noutput = [{ name = 'b', data_type = 'FP32' }]",
    );
    root
}

#[test]
fn every_problem_of_several_repositories_at_once() {
    let root = repositories();
    let paths = ["one", "two", "none"].map(|path| root.path().join(path));
    let (code, text) = run(&args(&paths), root.path());
    assert_eq!(code, EXIT_FAILURE);
    insta::assert_snapshot!(text);
    let (code, text) = run(&CheckArgs { json: true, ..args(&paths) }, root.path());
    assert_eq!(code, EXIT_FAILURE);
    insta::assert_snapshot!(text);
}

#[test]
fn sound_models_are_listed() {
    let root = repositories();
    let (code, text) = run(&args(&[root.path().join("one/good")]), root.path());
    assert_eq!(code, EXIT_OK);
    let expected = "MODEL  VERSIONS  RESULT\n\
                    good   1, 12     ok\n\
                    note    one/good/model.toml: metric_tags: has no effect yet (line 2)\n\
                    1 model is sound, 0 not; 0 problems\n";
    assert_eq!(text, expected);
}

#[test]
fn a_repository_without_a_model_is_mentioned() {
    let root = tempfile::tempdir().unwrap();
    let noted = format!("note    {}: no model was found in this folder; expected ", root.path().display());
    let paths = vec![root.path().to_owned()];

    let mut out = Vec::new();
    assert_eq!(check(&args(&paths), &Config::default(), server(&paths), &mut out).unwrap(), EXIT_OK);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(&noted), "{text}");

    let config = Config { repositories: paths, ..Config::default() };
    let loaded = Loaded { config, file: None, notes: vec!["odd".to_owned()] };
    let mut out = Vec::new();
    check_config(&loaded, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(&format!("OK\nnote    odd\n{noted}")), "{text}");
}

#[test]
fn models_are_loaded_where_that_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits/1/model.onnx");
    for model in ["digits", "broken", "other"] {
        fs::create_dir_all(root.path().join(model).join("1")).unwrap();
        fs::copy(&digits, root.path().join(model).join("1/model.onnx")).unwrap();
    }
    fs::write(root.path().join("broken/1/model.onnx"), "no model").unwrap();
    fs::write(root.path().join("other/model.toml"), "input = [{ name = 'picture', data_type = 'FP32' }]")
        .unwrap();
    let quick = args(&[root.path().to_owned()]);
    let (code, text) = run(&quick, root.path());
    assert_eq!((code, text.contains("3 models are sound")), (EXIT_OK, true), "{text}");

    let (code, text) = run(&CheckArgs { load: true, ..quick }, root.path());
    assert_eq!(code, EXIT_FAILURE);
    assert!(text.contains("digits  1         ok\n"), "{text}");
    assert!(text.contains("problem broken/1/model.onnx: failed to load: "), "{text}");
    let wrong = "problem other/1/model.onnx: failed to load: input 'picture': the model has no such input; it has image\n";
    assert!(text.contains(wrong), "{text}");
    assert!(text.ends_with("1 model is sound, 2 not; 2 problems\n"), "{text}");
}
