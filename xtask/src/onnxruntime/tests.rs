use std::io::Write;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn write_wheel(path: &Path, names: &[&str]) -> String {
    let mut writer = ZipWriter::new(File::create(path).unwrap());
    for name in names {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(name.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    cache::sha256(&fs::read(path).unwrap())
}

const COMPLETE: [&str; 3] = [
    "onnxruntime/capi/libonnxruntime.so.1.28.0",
    "onnxruntime/LICENSE",
    "onnxruntime/ThirdPartyNotices.txt",
];

#[test]
fn a_wheel_with_the_pinned_digest_is_installed() {
    let scratch = tempfile::tempdir().unwrap();
    let (wheel, folder) = (scratch.path().join("w.whl"), scratch.path().join("1.28.0"));
    let digest = write_wheel(&wheel, &COMPLETE);
    // What an interrupted or older installation leaves is replaced.
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(LIBRARY), "old").unwrap();
    assert!(!is_installed(&folder, &digest));

    install(&wheel, &digest, scratch.path(), &folder).unwrap();

    assert!(is_installed(&folder, &digest));
    assert_eq!(fs::read_to_string(folder.join(LIBRARY)).unwrap(), COMPLETE[0]);
    assert!(folder.join("LICENSE").is_file() && folder.join("ThirdPartyNotices.txt").is_file());
    assert!(!is_installed(&folder, "another digest"));
}

#[test]
fn another_digest_is_an_error_that_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let (wheel, folder) = (scratch.path().join("w.whl"), scratch.path().join("1.28.0"));
    let digest = write_wheel(&wheel, &COMPLETE);
    let error = install(&wheel, &"0".repeat(64), scratch.path(), &folder).unwrap_err().to_string();
    assert!(error.contains("digest mismatch") && error.contains(&digest), "{error}");
    assert!(!folder.exists());
}

#[test]
fn a_wheel_without_the_library_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let (wheel, folder) = (scratch.path().join("w.whl"), scratch.path().join("1.28.0"));
    let digest = write_wheel(&wheel, &COMPLETE[1..]);
    let error = install(&wheel, &digest, scratch.path(), &folder).unwrap_err().to_string();
    assert!(error.contains("libonnxruntime.so.1.28.0"), "{error}");
    assert!(!folder.exists());
}

#[test]
fn digests_are_pinned_for_both_architectures() {
    for arch in ["x86_64", "aarch64"] {
        let pinned = wheel("linux", arch).unwrap();
        assert!(pinned.platform.ends_with(arch));
        assert!(pinned.sha256.len() == 64 && pinned.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    assert_eq!(wheel("linux", "riscv64"), None);
    assert_eq!(wheel("windows", "x86_64"), None);
}
