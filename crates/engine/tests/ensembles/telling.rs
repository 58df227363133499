use super::*;

fn server() -> Server {
    let steps = ["one: IN=IN -> OUT=a", "two: IN=a -> OUT=OUT"];
    Server::start(&[
        adder("one", "1"),
        adder("two", "2"),
        ensemble("e", 8, &["IN"], &["OUT"], &steps),
    ])
}

#[tokio::test]
async fn an_ensemble_is_told_as_triton_tells_it() {
    let server = server();
    let model = ModelRef::latest("e");
    let metadata = server.engine.model_metadata(&model).unwrap();
    assert_eq!((&*metadata.platform, &metadata.versions[..]), ("ensemble", &[1][..]));
    assert_eq!(metadata.inputs[0].shape.to_string(), "[-1,1]");
    let config = server.engine.model_config(&model).unwrap();
    let json = std::str::from_utf8(&config.json).unwrap();
    for part in [
        r#""platform":"ensemble""#,
        r#""backend":"""#,
        r#""max_batch_size":8"#,
        r#""ensemble_scheduling":{"step":[{"model_name":"one","model_version":-1,"input_map":{"IN":"IN"}"#,
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }
    assert!(!json.contains("dynamic_batching"), "{json}");
}

#[tokio::test]
async fn a_request_is_one_execution_of_the_ensemble_with_the_time_of_its_steps() {
    let server = server();
    server.ask(request("e", &[("IN", &[3, 1], &[1, 2, 3])])).await.unwrap();
    server.ask(byte("e", 255)).await.unwrap_err();
    let of = |name: &str| server.engine.statistics(Some(&ModelRef::latest(name))).unwrap().pop().unwrap();
    let statistics = of("e");
    assert_eq!((statistics.inference_count, statistics.execution_count), (3, 1));
    assert_eq!((statistics.inference.success.count, statistics.inference.fail.count), (1, 1));
    assert_eq!(statistics.inference.compute_input.total, Duration::from_millis(2));
    assert_eq!(statistics.inference.compute_infer.total, Duration::from_millis(20));
    assert_eq!(statistics.inference.compute_output.total, Duration::from_millis(4));
    assert_eq!(statistics.inference.queue.total, Duration::ZERO, "its steps wait in their models' queues");
    assert_eq!(statistics.batches.len(), 1);
    assert_eq!((statistics.batches[0].batch_size, statistics.batches[0].compute_infer.count), (3, 1));
    let one = of("one");
    assert_eq!((one.inference_count, one.inference.success.count, one.inference.fail.count), (3, 1, 1));
    assert!(one.inference.queue.total > Duration::ZERO);
    assert_eq!(of("two").inference_count, 3);
    for model in ["e", "one", "two"] {
        let line = format!("adulis_inference_rows_total{{model=\"{model}\",version=\"1\"}}");
        assert_eq!(server.metric(&line), Some(3.0), "{model}");
    }
    assert_eq!(server.metric("adulis_executions_total{model=\"e\",version=\"1\"}"), Some(1.0));
}
