//! A request to load a model reaches nothing outside of the repository: not by its name, not by links.

use std::fs;
use std::os::unix::fs::symlink;

use adulis_testing::TestRepository;

use crate::support::{byte_json, byte_model, serve};

#[tokio::test]
async fn links_out_of_a_repository_load_nothing() {
    let (repository, outside) = (TestRepository::new().unwrap(), TestRepository::new().unwrap());
    repository.identity("sound", &byte_model(&[])).unwrap();
    outside.identity("secret", &byte_model(&[])).unwrap();
    let (inside, secret) = (repository.path(), outside.path().join("secret"));
    symlink(&secret, inside.join("folder")).unwrap();
    // A relative way out, and a version that is a link.
    let name = outside.path().file_name().unwrap().to_str().unwrap().to_owned();
    symlink(format!("../{name}/secret"), inside.join("relative")).unwrap();
    fs::create_dir(inside.join("version")).unwrap();
    let config = fs::read_to_string(secret.join("config.pbtxt")).unwrap();
    fs::write(inside.join("version/config.pbtxt"), config.replace("\"secret\"", "\"version\"")).unwrap();
    symlink(secret.join("1"), inside.join("version/1")).unwrap();
    // A configuration that is one, and a file of the model.
    fs::create_dir_all(inside.join("config/1")).unwrap();
    symlink(secret.join("config.pbtxt"), inside.join("config/config.pbtxt")).unwrap();
    fs::write(outside.path().join("model.onnx"), "secret").unwrap();
    fs::create_dir_all(inside.join("file/1")).unwrap();
    symlink(outside.path().join("model.onnx"), inside.join("file/1/model.onnx")).unwrap();

    let server = serve(&repository, &["--model-control-mode", "explicit", "--engine", "tract"]);
    server.ready().await;
    for model in ["folder", "relative", "version", "config", "file"] {
        let answer = server.post(&format!("/v2/repository/models/{model}/load"), "").await.unwrap();
        assert!((400..500).contains(&answer.status), "{model}: {} {}", answer.status, answer.text());
        // By the name that it was asked for by, and by no other: what lies behind the link is nobody's affair.
        assert!(answer.text().contains(&format!("'{model}'")), "{}", answer.text());
        assert!(!answer.text().contains("secret"), "{}", answer.text());
        let answer = server.infer(model, &[], &byte_json(1)).await.unwrap();
        assert_ne!(answer.status, 200, "{model}: {}", answer.text());
    }
    for path in [
        "..%2Fsecret",
        "%2Fetc%2Fpasswd",
        "..",
        "sound%2F..%2F..%2Fsecret",
        "sound%00",
    ] {
        let answer = server.post(&format!("/v2/repository/models/{path}/load"), "").await.unwrap();
        assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    }
    assert_eq!(server.post("/v2/repository/models/sound/load", "").await.unwrap().status, 200);
    assert_eq!(server.infer("sound", &[], &byte_json(1)).await.unwrap().status, 200);
}
