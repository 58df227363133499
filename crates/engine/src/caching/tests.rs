use std::path::{Path, PathBuf};

use super::identity::files_of;
use super::*;

#[test]
fn names_in_a_signature_cannot_pass_for_what_stands_around_them() {
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        datatype: DataType::Fp32,
        shape: ShapePattern::new(&[-1, 2]),
        optional: false,
    };
    assert_eq!(signature(&[spec("a"), spec("b")]), "\"a\" FP32 [-1,2] false;\"b\" FP32 [-1,2] false;");
    assert_ne!(signature(&[spec("a"), spec("b")]), signature(&[spec("a\" FP32 [-1,2] false;\"b")]));
}

#[test]
fn a_version_has_its_folder_and_a_file_itself() {
    let entry = |directory: Option<&str>| ModelEntry {
        name: "m".to_owned(),
        config: ModelConfig::derived("m"),
        versions: Vec::new(),
        directory: directory.map(PathBuf::from),
    };
    let of = |directory, path: &str| files_of(&entry(directory), Path::new(path));
    assert_eq!(of(Some("/r/m"), "/r/m/1/model.onnx"), ("/r/m/1".into(), false));
    assert_eq!(of(None, "/r/m.onnx"), ("/r/m.onnx".into(), true));
    assert_eq!(of(Some("/r/m"), "/elsewhere/m.onnx"), ("/elsewhere/m.onnx".into(), true));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(of(None, path), (folder.path().to_owned(), false));
}

#[test]
fn loads_are_unlike_each_other() {
    assert_ne!(unique(), unique());
}
