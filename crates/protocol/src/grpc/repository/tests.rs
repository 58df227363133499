use std::collections::BTreeMap;

use crate::grpc::ModelRepositoryParameter;

use super::*;

fn parameters(list: Vec<(&str, ParameterChoice)>) -> BTreeMap<String, ModelRepositoryParameter> {
    list.into_iter()
        .map(|(name, choice)| (name.to_owned(), ModelRepositoryParameter { parameter_choice: Some(choice) }))
        .collect()
}

fn load_with(list: Vec<(&str, ParameterChoice)>) -> Result<LoadModel, DecodeError> {
    decode_load(RepositoryModelLoadRequest {
        repository_name: String::new(),
        model_name: "m".to_owned(),
        parameters: parameters(list),
    })
}

#[test]
fn a_model_is_loaded_with_its_configuration_and_files() {
    let contents = Bytes::from_static(&[1, 2]);
    let load = load_with(vec![
        ("config", ParameterChoice::StringParam("{}".to_owned())),
        ("file:1/model.onnx", ParameterChoice::BytesParam(contents.clone())),
    ])
    .unwrap();
    assert_eq!((load.name.as_str(), load.config.as_deref()), ("m", Some(&b"{}"[..])));
    assert_eq!(load.files, [("1/model.onnx".into(), contents)]);
}

#[test]
fn what_cannot_be_loaded_is_refused_by_name() {
    let text = || ParameterChoice::StringParam("x".to_owned());
    for (list, says) in [
        (
            vec![("config", ParameterChoice::BoolParam(true))],
            "parameter 'config': expected a string, got true or false",
        ),
        (
            vec![("config", text()), ("file:a", text())],
            "parameter 'file:a': expected bytes, got a string",
        ),
        (
            vec![("file:a", ParameterChoice::BytesParam(Bytes::new()))],
            "together with a 'config' only",
        ),
        (vec![("conf", text())], "unknown parameter 'conf'"),
    ] {
        let error = load_with(list).unwrap_err().to_string();
        assert!(error.starts_with("model 'm': ") && error.contains(says), "{error}");
    }
    let named = RepositoryModelLoadRequest { repository_name: "r".to_owned(), ..Default::default() };
    assert!(decode_load(named).unwrap_err().to_string().contains("('r')"));
}

#[test]
fn a_model_is_unloaded_with_its_dependents_or_without() {
    let unload = |list| {
        decode_unload(RepositoryModelUnloadRequest {
            model_name: "m".to_owned(),
            parameters: parameters(list),
            ..Default::default()
        })
    };
    assert!(!unload(vec![]).unwrap().unload_dependents);
    assert!(
        unload(vec![("unload_dependents", ParameterChoice::BoolParam(true))])
            .unwrap()
            .unload_dependents
    );
    unload(vec![("unload_dependents", ParameterChoice::Int64Param(1))]).unwrap_err();
    unload(vec![("other", ParameterChoice::BoolParam(true))]).unwrap_err();
}

#[test]
fn a_configuration_travels_as_the_message_it_is() {
    let config = ModelConfig { name: "m".to_owned(), max_batch_size: Some(8), ..Default::default() };
    let protobuf = Bytes::from(config.encode_to_vec());
    let document = ModelConfigDocument { json: Bytes::new(), protobuf };
    assert_eq!(model_config(&document).unwrap().config, Some(config));
    model_config(&ModelConfigDocument { protobuf: Bytes::from_static(&[0xff]), ..document }).unwrap_err();
}
