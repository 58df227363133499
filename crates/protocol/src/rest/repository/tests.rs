use adulis_types::ModelState;

use super::*;

fn target(repository: &str) -> RepositoryModel {
    RepositoryModel { repository: repository.into(), model: "m".into() }
}

#[test]
fn an_index_is_asked_for_with_or_without_a_body() {
    let query = |body: &str| decode_index_query("".into(), body.as_bytes());
    assert!(query(r#"{"ready": true, "more": [1]}"#).unwrap().ready);
    for body in ["", " \r\n", "{}", r#"{"ready":false}"#] {
        assert!(!query(body).unwrap().ready, "{body}");
    }
    assert_eq!(decode_index_query("r".into(), b"").unwrap().repository, "r");
    let wrong = query(r#"{"ready":"yes"}"#).unwrap_err().to_string();
    assert_eq!(wrong, "parameter 'ready': expected true or false, got \"yes\"");
    for body in ["[]", "{", r#"{"ready":true}x"#, r#"{"ready":true,"ready":true}"#] {
        query(body).unwrap_err();
    }
}

#[test]
fn the_index_names_only_what_there_is() {
    let entry = |name: &str, version, state, reason: &str| IndexEntry {
        name: name.into(),
        version,
        state,
        reason: reason.into(),
    };
    let json = repository_index(&[
        entry("a\"b", Some(2), Some(ModelState::Ready), ""),
        entry("b", Some(1), Some(ModelState::Unavailable), "unloaded"),
        entry("c", None, None, ""),
    ]);
    assert_eq!(
        std::str::from_utf8(&json).unwrap(),
        r#"[{"name":"a\"b","version":"2","state":"READY"},{"name":"b","version":"1","state":"UNAVAILABLE","reason":"unloaded"},{"name":"c"}]"#
    );
    assert_eq!(&repository_index(&[])[..], b"[]");
}

#[test]
fn a_model_is_loaded_with_its_configuration_and_files() {
    let body =
        br#"{"parameters":{"file:1/model.onnx":"AAH/","config":"{\"max_batch_size\": 8}","file:2/x":""}}"#;
    let load = decode_load(target(""), body).unwrap();
    assert_eq!(load.name, "m");
    assert_eq!(load.config.as_deref(), Some(&br#"{"max_batch_size": 8}"#[..]));
    let files: Vec<_> = load.files.iter().map(|(path, contents)| (path.as_str(), &contents[..])).collect();
    assert_eq!(files, [("1/model.onnx", &[0, 1, 255][..]), ("2/x", &[][..])]);
    for body in [&b""[..], b"{}", br#"{"parameters":{}}"#] {
        let load = decode_load(target(""), body).unwrap();
        assert_eq!(load, LoadModel { name: "m".into(), ..LoadModel::default() });
    }
}

#[test]
fn what_cannot_be_loaded_is_refused_by_name() {
    for (body, says) in [
        (
            r#"{"parameters":{"file:1/m":"AAAA"}}"#,
            "'file:1/m': files are taken together with a 'config' only",
        ),
        (
            r#"{"parameters":{"config":"{}","file:1/m":"A*=="}}"#,
            "'file:1/m': expected base64, which this is not at byte 1",
        ),
        (r#"{"parameters":{"config":"{}","file:1/m":"AAA"}}"#, "at byte 3"),
        (r#"{"parameters":{"config":"{}","config":"{}"}}"#, "duplicate key 'config'"),
        (r#"{"parameters":{"file:a":"","file:a":""}}"#, "duplicate key 'file:a'"),
        (
            r#"{"parameters":{"confgi":"{}"}}"#,
            "unknown parameter 'confgi': expected 'config' or 'file:<path>'",
        ),
        (r#"{"parameters":{"config":{}}}"#, "expected a string, got '{'"),
        (r#"{"parameters":[]}"#, "expected '{', got '['"),
        (r#"{"parameters":{},"parameters":{}}"#, "duplicate key 'parameters'"),
    ] {
        let error = decode_load(target(""), body.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("model 'm': ") && error.contains(says), "{body}: {error}");
    }
    let files: Vec<String> = (0..=1024).map(|file| format!(r#""file:{file}":"""#)).collect();
    let many = format!(r#"{{"parameters":{{{}}}}}"#, files.join(","));
    let error = decode_load(target(""), many.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "model 'm': too many parameters: at most 1024 are taken");
}

#[test]
fn a_model_is_unloaded_with_its_dependents_or_without() {
    let unload = |body: &str| decode_unload(target(""), body.as_bytes());
    assert!(unload(r#"{"parameters":{"unload_dependents":true}}"#).unwrap().unload_dependents);
    for body in ["", "{}", r#"{"parameters":{"unload_dependents":false}}"#] {
        assert!(!unload(body).unwrap().unload_dependents, "{body}");
    }
    for (body, says) in [
        (r#"{"parameters":{"unload_dependents":1}}"#, "expected true or false, got 1"),
        (r#"{"parameters":{"unload":true}}"#, "unknown parameter 'unload'"),
    ] {
        let error = unload(body).unwrap_err().to_string();
        assert!(error.contains(says), "{body}: {error}");
    }
}

#[test]
fn a_repository_cannot_be_chosen() {
    use adulis_types::ServiceError as _;
    let load = decode_load(target("r"), b"").unwrap_err();
    let unload = decode_unload(target("r"), b"").unwrap_err();
    for error in [load, unload] {
        assert_eq!(error.kind(), adulis_types::ErrorKind::Unsupported);
        assert!(error.to_string().contains("('r')"), "{error}");
    }
}
