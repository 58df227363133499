//! `adulis check` as people run it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn check(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } =
        Command::new(env!("CARGO_BIN_EXE_adulis")).arg("check").args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

#[test]
fn models_that_would_be_loaded_by_request_are_loaded_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("adulis.toml");
    std::fs::write(&config, "model_control_mode = 'explicit'\n").unwrap();
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits");
    let (config, digits) = (config.to_str().unwrap(), digits.to_str().unwrap());
    let (code, text) = check(&["--load", "--engine", "tract", "--config", config, digits]);
    assert_eq!(
        text,
        "MODEL   VERSIONS  RESULT\ndigits  1         ok\n1 model is sound, 0 not; 0 problems\n"
    );
    assert_eq!(code, Some(0));
}

#[test]
fn what_is_wrong_is_told_with_a_code_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("m")).unwrap();
    std::fs::write(folder.path().join("m/config.pbtxt"), "backend: 'identity' max_batchsize: 1").unwrap();
    let (code, text) = check(&["--json", folder.path().to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let problem = &json["models"][0]["problems"][0];
    assert_eq!(
        (&problem["key"], &problem["remedy"]),
        (&"max_batchsize".into(), &"did you mean max_batch_size?".into())
    );
    assert_eq!(code, Some(1));
    assert_eq!(check(&[]).0, Some(2), "nothing to check is a mistake of the command line");
}
