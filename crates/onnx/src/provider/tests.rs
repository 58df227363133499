use super::*;

fn options(providers: &[(&str, &[(&str, &str)])]) -> EngineOptions {
    EngineOptions {
        providers: providers
            .iter()
            .map(|(name, options)| ExecutionProvider {
                name: (*name).to_owned(),
                options: options.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            })
            .collect(),
        device_id: Some(1),
        arena_limit_bytes: Some(64),
        ..EngineOptions::default()
    }
}

#[test]
fn names_are_found_in_both_forms() {
    let providers = Provider::read(&options(&[("TensorRT", &[]), ("CUDAExecutionProvider", &[])])).unwrap();
    let canonical: Vec<_> = providers.iter().map(|provider| provider.canonical).collect();
    assert_eq!(canonical, ["TensorrtExecutionProvider", "CUDAExecutionProvider"]);
}

#[test]
fn device_and_limit_are_defaults() {
    let providers = Provider::read(&options(&[("cuda", &[("device_id", "3")]), ("xnnpack", &[])])).unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(providers[0].options[..2], [pair("device_id", "3"), pair("gpu_mem_limit", "64")]);
    assert!(providers[1].options.is_empty());
}

#[test]
fn cuda_plans_quickly_unless_told_otherwise() {
    let given = [("cudnn_conv_algo_search", "EXHAUSTIVE")];
    let providers = Provider::read(&options(&[("tensorrt", &[]), ("cuda", &given)])).unwrap();
    let cuda = |key: &str| {
        let of_key = providers[1].options.iter().filter(|(name, _)| name == key);
        of_key.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(cuda("cudnn_conv_algo_search"), ["EXHAUSTIVE"]);
    assert_eq!(cuda("arena_extend_strategy"), ["kSameAsRequested"]);
    assert!(providers[0].options.iter().all(|(name, _)| name != "arena_extend_strategy"));
}

#[test]
fn nothing_comes_after_the_cpu() {
    assert!(Provider::read(&options(&[("cpu", &[]), ("cuda", &[])])).unwrap().is_empty());
}

#[test]
fn unknown_names_and_options_of_the_cpu_are_refused() {
    let unknown = Provider::read(&options(&[("warp", &[])])).unwrap_err().to_string();
    assert!(
        unknown.starts_with(
            "engine option execution provider \"warp\": not known; known are cpu, cuda, tensorrt"
        ),
        "{unknown}"
    );
    let cpu = Provider::read(&options(&[("cpu", &[("speed", "9")])])).unwrap_err();
    assert_eq!(
        cpu.to_string(),
        "engine option execution provider \"cpu\": the CPU has no option \"speed\""
    );
}

#[test]
fn cuda_comes_behind_tensorrt() {
    let providers = Provider::read(&options(&[("tensorrt", &[]), ("openvino", &[])])).unwrap();
    let names: Vec<_> = providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(names, ["tensorrt", "cuda", "openvino"]);
    assert!(providers[1].options.contains(&("device_id".to_owned(), "1".to_owned())));
}
