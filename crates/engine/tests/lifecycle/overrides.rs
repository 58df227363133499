use adulis_types::Name;

use super::*;

fn with_files(name: &str, config: Option<&str>, files: &[(&str, &str)]) -> LoadModel {
    LoadModel {
        name: name.into(),
        config: config.map(|config| Bytes::copy_from_slice(config.as_bytes())),
        files: files
            .iter()
            .map(|(path, content)| (Name::from(*path), Bytes::copy_from_slice(content.as_bytes())))
            .collect(),
        identity: None,
    }
}

#[tokio::test]
async fn a_configuration_in_the_request_stands_in_for_the_models_own() {
    let repository = Repository::new();
    repository.configure("m", "max_batch_size = 4");
    repository.put("m", 1, "add=1");
    let server = Server::start(&repository, explicit());
    let rows = async |count: usize| {
        let answer = server.engine.infer(request("m", None, &vec![0; count])).await;
        answer.map(drop).map_err(|fault| fault.client_message().into_owned())
    };
    server.load("m").await.unwrap();
    assert!(rows(5).await.unwrap_err().contains("at most 4 are allowed"));
    server.load_with(with_files("m", Some(r#"{"max_batch_size": 8}"#), &[])).await.unwrap();
    rows(5).await.unwrap();
    let wrong = server
        .load_with(with_files("m", Some(r#"{"max_batch_sice": 8}"#), &[]))
        .await
        .unwrap_err();
    assert!(wrong.starts_with("failed to load 'm', ") && wrong.contains("max_batch_sice"), "{wrong}");
    rows(5).await.unwrap();
    server.load("m").await.unwrap();
    assert!(rows(5).await.is_err(), "the model's own configuration is back");
}

#[tokio::test]
async fn files_in_the_request_stand_in_for_the_models_folder() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    let server = Server::start(&repository, explicit());
    server.load("m").await.unwrap();
    let files = [("3/model.onnx", "add=3"), ("7/model.onnx", "add=7")];
    let refused = server.load_with(with_files("m", None, &files)).await.unwrap_err();
    assert_eq!(
        refused,
        "failed to load 'm', file override needs the model's configuration, too: give it as 'config'"
    );
    let all = Some(r#"{"version_policy": {"all": {}}}"#);
    server.load_with(with_files("m", all, &files)).await.unwrap();
    assert_eq!((server.adds("m", None).await, server.adds("m", Some(3)).await), (Ok(7), Ok(3)));
    server.wait_for_index(&["m 1 UNAVAILABLE unloaded", "m 3 READY", "m 7 READY"]).await;

    let broken = with_files("m", Some("{}"), &[("8/model.onnx", "?")]);
    assert!(server.load_with(broken).await.unwrap_err().contains("version 8: "));
    assert_eq!(server.adds("m", None).await, Ok(7));

    server.load("m").await.unwrap();
    assert_eq!(server.adds("m", None).await, Ok(1), "the repository's model is back");
}

#[tokio::test]
async fn a_model_can_come_from_nowhere_but_the_request_and_leaves_no_trace() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    let server = Server::start(&repository, explicit());
    for config in ["{}", r#"{"name": "new", "max_batch_size": 2}"#] {
        server
            .load_with(with_files("new", Some(config), &[("1/model.onnx", "add=5")]))
            .await
            .unwrap();
        assert_eq!(server.adds("new", None).await, Ok(5));
        assert_eq!(server.index(), ["m", "new 1 READY"]);
        server.unload("new").await.unwrap();
        assert_eq!(server.index(), ["m"]);
    }
    for (config, file, content) in [
        ("{}", "1/model.onnx", "?"),
        ("?", "1/model.onnx", ""),
        ("{}", "1/x", ""),
    ] {
        server.load_with(with_files("new", Some(config), &[(file, content)])).await.unwrap_err();
        assert_eq!(server.index(), ["m"], "{config} {file}");
        assert!(server.engine.ready(), "what never served and is nowhere is not missing");
    }
    assert_eq!(server.backend.models(), 0);
}

#[tokio::test]
async fn paths_that_lead_out_are_refused() {
    let repository = Repository::new();
    let server = Server::start(&repository, explicit());
    for path in ["../x", "/tmp/x", "1/../../x", "", "1//x"] {
        let refused = server.load_with(with_files("m", Some("{}"), &[(path, "x")])).await.unwrap_err();
        assert!(refused.contains("is not a path within the model's folder"), "{path:?}: {refused}");
    }
    for name in ["..", "a/b", ""] {
        let request = with_files(name, Some("{}"), &[("1/model.onnx", "add=1")]);
        assert!(server.load_with(request).await.is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn room_for_files_is_bounded_and_comes_back() {
    let repository = Repository::new();
    let server = Server::start(&repository, Settings { max_override_bytes: 8, ..explicit() });
    let model = |name| with_files(name, Some("{}"), &[("1/model.onnx", "add=1")]);
    server.load_with(model("a")).await.unwrap();
    let refused = server.load_with(model("b")).await.unwrap_err();
    assert!(
        refused.contains("5 bytes of files are more than there is room for (3 of 8 bytes are free)"),
        "{refused}"
    );
    server.unload("a").await.unwrap();
    server.load_with(model("b")).await.unwrap();
}
