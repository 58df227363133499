//! What is said when the library cannot be had. A process of its own: it holds at most one library.

use std::fs;

use adulis_backend::Backend;
use adulis_onnx::{OnnxRuntime, OnnxRuntimeOptions};

#[test]
fn the_error_names_the_places_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("libnone.so");
    let wrong = folder.path().join("libwrong.so");
    fs::write(&wrong, "not a library").unwrap();
    for library in [missing, wrong] {
        let backend = OnnxRuntime::new(OnnxRuntimeOptions {
            library: Some(library.clone()),
            ..OnnxRuntimeOptions::default()
        });
        for _ in 0..2 {
            let error = backend.available().unwrap_err().to_string();
            assert!(error.starts_with("backend onnxruntime is not available: "), "{error}");
            assert!(error.contains(&library.display().to_string()), "{error}");
            assert!(error.contains("cargo xtask setup"), "{error}");
        }
    }
}
