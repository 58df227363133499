use super::*;

/// A model's folder with one version, whose file has this content.
fn model(content: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("1")).unwrap();
    fs::write(folder.path().join("1/model.onnx"), content).unwrap();
    folder
}

#[tokio::test]
async fn a_model_of_other_files_finds_nothing_of_the_old_one() {
    let folder = model(b"one");
    let entry = || entry("m", Some(folder.path()), &[]);
    let server = Server::start(&[entry()]);
    let mut seen = Vec::new();
    for content in [&b"one"[..], b"two", b"one"] {
        fs::write(folder.path().join("1/model.onnx"), content).unwrap();
        server.engine.load(&[entry()]);
        seen.push([
            server.status(request("m", &[1])).await,
            server.status(request("m", &[1])).await,
        ]);
    }
    let (hit, miss) = (CacheStatus::Hit, CacheStatus::Miss);
    assert_eq!(seen, [[miss, hit], [miss, hit], [hit, hit]], "the files of the first are back");
}

#[tokio::test]
async fn other_settings_and_other_versions_are_other_models() {
    let (folder, mut other) = (model(b"one"), entry("m", None, &[("execute_delay_ms", "1")]));
    fs::create_dir(folder.path().join("2")).unwrap();
    fs::write(folder.path().join("2/model.onnx"), b"one").unwrap();
    let server = Server::start(&[entry("m", Some(folder.path()), &[])]);
    assert_eq!(server.status(request("m", &[1])).await, CacheStatus::Miss);
    other.directory = Some(folder.path().to_owned());
    other.versions = [1, 2]
        .map(|version| ModelVersion { version, path: folder.path().join(format!("{version}/model.onnx")) })
        .into();
    server.engine.load(&[other]);
    for version in [1, 2] {
        let mut request = request("m", &[1]);
        request.model.version = Some(version);
        assert_eq!(server.status(request).await, CacheStatus::Miss);
    }
}

#[tokio::test]
async fn a_random_model_is_refused_unless_its_owner_insists() {
    let folder = model(b"\x22\x0cRandomNormal");
    let mut insisting = entry("insisting", Some(folder.path()), &[]);
    insisting.config.caching.insist = true;
    let mut unasked = entry("unasked", Some(folder.path()), &[]);
    unasked.config.response_cache = false;
    let settings = CacheSettings { all_models: true, ..CacheSettings::default() };
    let server = Server::with(settings, &[entry("m", Some(folder.path()), &[]), insisting, unasked]);
    let fault = server.ask(request("m", &[1])).await.unwrap_err();
    assert_eq!(
        fault.client_message(),
        "model 'm' is not ready: failed to load: response_cache.enable: the model has operator RandomNormal, so that its \
         answers are no function of its inputs; set its parameter response_cache_insist to true to cache it all the same"
    );
    assert_eq!(server.status(request("insisting", &[1])).await, CacheStatus::Miss);
    assert!(server.ask(request("unasked", &[1])).await.unwrap().cache.is_none());
}

#[tokio::test]
async fn all_models_are_cached_where_that_is_set_and_none_where_it_is_off() {
    let mut plain = entry("plain", None, &[]);
    plain.config.response_cache = false;
    let all = CacheSettings { all_models: true, ..CacheSettings::default() };
    let server = Server::with(all, std::slice::from_ref(&plain));
    assert_eq!(server.status(request("plain", &[1])).await, CacheStatus::Miss);
    let config = server.engine.model_config(&ModelRef::latest("plain")).unwrap();
    assert!(String::from_utf8_lossy(&config.json).contains(r#""response_cache":{"enable":true}"#));
    let off = CacheSettings { memory_bytes: 0, ..CacheSettings::default() };
    let server = Server::with(off, &[entry("m", None, &[])]);
    assert!(server.ask(request("m", &[1])).await.unwrap().cache.is_none());
}
