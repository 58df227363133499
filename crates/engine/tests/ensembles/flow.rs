use std::time::Instant;

use super::*;

/// `IN` goes through `plus1`; what comes out goes through `plus2` and `plus3`, and the sum of both is `SUM`.
fn diamond(parameters: &[(&str, &str)]) -> Vec<ModelEntry> {
    let with = |add: &'static str| [&[("add", add)], parameters].concat();
    vec![
        model("plus1", 8, &["IN"], &["OUT"], &with("1")),
        model("plus2", 8, &["IN"], &["OUT"], &with("2")),
        model("plus3", 8, &["IN"], &["OUT"], &with("3")),
        model("sum", 8, &["A", "B"], &["OUT"], &[]),
        ensemble(
            "e",
            8,
            &["IN"],
            &["SUM", "left", "first"],
            &[
                "plus1: IN=IN -> OUT=first",
                "sum: A=left B=right -> OUT=SUM",
                "plus2: IN=first -> OUT=left",
                "plus3: IN=first -> OUT=right",
            ],
        ),
    ]
}

#[tokio::test]
async fn a_diamond_gives_what_its_models_give_on_threads_and_inline() {
    for threshold in [Duration::ZERO, Duration::from_secs(1)] {
        let settings = Settings { inline_threshold: threshold, ..Settings::default() };
        let server = Server::start_with(settings, &diamond(&[]));
        assert!(server.engine.ready());
        let response = server.infer(request("e", &[("IN", &[3, 1], &[0, 10, 20])])).await.unwrap();
        assert_eq!((&*response.model_name, response.model_version), ("e", 1));
        let outputs: Vec<(&str, &[u8])> =
            response.outputs.iter().map(|output| (&*output.name, &output.tensor.data()[..])).collect();
        assert_eq!(
            outputs,
            [
                ("SUM", &[7, 27, 47][..]),
                ("left", &[3, 13, 23]),
                ("first", &[1, 11, 21])
            ]
        );
        assert!(response.outputs.iter().all(|output| output.tensor.shape() == &Shape::from([3, 1])));
    }
}

#[tokio::test]
async fn what_only_leads_to_outputs_that_nobody_asked_for_does_not_run() {
    let server = Server::start(&diamond(&[]));
    let before = server.backend.runs("plus3").begun;
    let request = wanting(byte("e", 4), &["first", "left"]);
    assert_eq!(server.ask(request).await, Ok(vec![vec![5], vec![7]]), "in the order that was asked for");
    assert_eq!(server.backend.runs("plus3").begun, before, "a warm-up runs, the request does not");
    let before = server.backend.runs("plus2").begun;
    assert_eq!(server.ask(wanting(byte("e", 4), &["first"])).await, Ok(vec![vec![5]]));
    assert_eq!(server.backend.runs("plus2").begun, before);
    let unknown = server.ask(wanting(byte("e", 4), &["right"])).await.unwrap_err();
    assert!(unknown.starts_with("model 'e': unexpected output 'right' requested"), "{unknown}");
}

#[tokio::test]
async fn an_output_may_be_asked_for_as_classes() {
    let server = Server::start(&diamond(&[]));
    let mut request = wanting(byte("e", 4), &["left", "SUM"]);
    request.outputs[1].classification = 1;
    let response = server.infer(request).await.unwrap();
    let classes = &response.outputs[1].tensor;
    assert_eq!(classes.datatype(), DataType::Bytes);
    let elements: Vec<&[u8]> = classes.bytes_elements().collect();
    assert!(
        elements.len() == 1 && elements[0].starts_with(b"15") && elements[0].ends_with(b":0"),
        "{elements:?}"
    );
    assert_eq!(&response.outputs[0].tensor.data()[..], [7]);
}

#[tokio::test]
async fn steps_that_need_not_wait_for_each_other_run_at_the_same_time() {
    let server = Server::start(&diamond(&[("run", "200")]));
    let started = Instant::now();
    assert_eq!(server.ask(wanting(byte("e", 0), &["SUM"])).await, Ok(vec![vec![7]]));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}: the first, then the two");
    assert!(took < Duration::from_millis(580), "{took:?}: the two one after the other");
}

#[tokio::test]
async fn no_tensor_is_copied_between_steps() {
    let identity = |name: &str| {
        entry(ModelConfig {
            backend: Some("identity".to_owned()),
            ..model(name, 8, &["IN"], &["OUT"], &[]).config
        })
    };
    let steps = [
        "one: IN=IN -> OUT=a",
        "two: IN=a -> OUT=OUT",
        "two: IN=a -> OUT=AGAIN",
    ];
    let entries = [
        identity("one"),
        identity("two"),
        ensemble("e", 8, &["IN"], &["OUT", "AGAIN"], &steps),
    ];
    let server = Server::start(&entries);
    let request = byte("e", 9);
    let data = request.inputs[0].tensor.data().as_ptr();
    let response = server.infer(request).await.unwrap();
    for output in &response.outputs {
        assert_eq!(output.tensor.data().as_ptr(), data, "{}", output.name);
    }
}

#[tokio::test]
async fn concurrent_requests_of_an_ensemble_share_the_batches_of_its_models() {
    let mut slow = model("slow", 8, &["IN"], &["OUT"], &[("run", "20"), ("add", "1")]);
    slow.config.scheduling = Scheduling::Dynamic(adulis_repository::DynamicBatching::default());
    let server = Server::start(&[
        slow,
        ensemble("e", 8, &["IN"], &["OUT"], &["slow: IN=IN -> OUT=OUT"]),
    ]);
    let before = server.backend.runs("slow").begun;
    let requests: Vec<_> = (0..32)
        .map(|value| {
            let engine = Arc::clone(&server.engine);
            tokio::spawn(async move { engine.infer(byte("e", value)).await.unwrap() })
        })
        .collect();
    for (value, request) in requests.into_iter().enumerate() {
        let response = request.await.unwrap();
        assert_eq!(usize::from(response.outputs[0].tensor.data()[0]), value + 1);
    }
    let runs = server.backend.runs("slow").begun - before;
    assert!(runs <= 8, "32 requests took {runs} runs");
}

#[tokio::test]
async fn an_optional_input_may_be_left_out_where_the_model_may_do_without() {
    let mut entries = vec![
        model("sum", 8, &["A", "B"], &["OUT"], &[]),
        adder("plus", "1"),
        ensemble("e", 8, &["A", "B"], &["SUM"], &["sum: A=A B=B -> OUT=SUM"]),
        ensemble("f", 8, &["A", "B"], &["SUM", "X"], &["sum: A=A B=A -> OUT=SUM", "plus: IN=B -> OUT=X"]),
    ];
    for entry in &mut entries {
        if entry.name != "plus" {
            entry.config.inputs[1].optional = true;
        }
    }
    let server = Server::start(&entries);
    assert_eq!(server.ask(request("e", &[("A", &[1, 1], &[3])])).await, Ok(vec![vec![3]]));
    let both = request("e", &[("A", &[1, 1], &[3]), ("B", &[1, 1], &[4])]);
    assert_eq!(server.ask(both).await, Ok(vec![vec![7]]));
    let missing = server.ask(request("f", &[("A", &[1, 1], &[3])])).await.unwrap_err();
    assert_eq!(missing, "in ensemble 'f', model 'plus': input 'IN' (UINT8 [-1,1]) is missing");
    let without = wanting(request("f", &[("A", &[1, 1], &[3])]), &["SUM"]);
    assert_eq!(server.ask(without).await, Ok(vec![vec![6]]), "the step that needs it does not run");
}

#[tokio::test]
async fn no_more_requests_than_allowed_are_under_way_in_a_step() {
    let mut limited = ensemble("e", 0, &["IN:1,1"], &["OUT:1,1"], &["slow: IN=IN -> OUT=OUT"]);
    if let Scheduling::Ensemble(ensemble) = &mut limited.config.scheduling {
        ensemble.max_inflight_requests = 2;
    }
    let slow = instances(model("slow", 0, &["IN:1,1"], &["OUT:1,1"], &[("run", "20")]), 4);
    let server = Server::start(&[slow, limited]);
    let mut requests = tokio::task::JoinSet::new();
    for value in 0..8 {
        let engine = Arc::clone(&server.engine);
        requests.spawn(async move { engine.infer(byte("e", value)).await.unwrap() });
    }
    let responses = requests.join_all().await;
    assert_eq!(server.backend.runs("slow").most_at_once, 2);
    let waited = responses.iter().map(|response| response.timings.queue).max().unwrap();
    assert!(
        waited >= Duration::from_millis(40),
        "{waited:?}: waiting for a place is waiting in a queue"
    );
    let mut late = byte("e", 0);
    late.timeout = Some(Duration::from_millis(30));
    let mut requests = tokio::task::JoinSet::new();
    for value in 0..4 {
        let engine = Arc::clone(&server.engine);
        requests.spawn(async move { engine.infer(byte("e", value)).await.unwrap() });
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let error = server.ask(late).await.unwrap_err();
    assert!(error.starts_with("in ensemble 'e', model 'slow': deadline exceeded after"), "{error}");
    requests.join_all().await;
}
