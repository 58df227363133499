use std::time::Instant;

use adulis_types::ErrorKind;

use super::*;

fn chain(run: &str) -> Vec<ModelEntry> {
    vec![
        model("one", 8, &["IN"], &["OUT"], &[("run", run), ("add", "1")]),
        model("two", 8, &["IN"], &["OUT"], &[("run", run), ("add", "1")]),
        ensemble("e", 8, &["IN"], &["OUT"], &["one: IN=IN -> OUT=a", "two: IN=a -> OUT=OUT"]),
    ]
}

#[tokio::test]
async fn a_step_that_fails_fails_the_request_and_takes_the_others_out() {
    let steps = [
        "quick: IN=IN -> OUT=a",
        "bad: IN=a -> OUT=b",
        "slow: IN=IN -> OUT=c",
        "two: IN=c -> OUT=d",
    ];
    let entries = [
        adder("quick", "1"),
        adder("bad", "0"),
        model("slow", 8, &["IN"], &["OUT"], &[("run", "250")]),
        adder("two", "0"),
        ensemble("e", 8, &["IN"], &["b", "d"], &steps),
    ];
    let server = Server::start(&entries);
    let before = server.backend.runs("two").begun;
    let started = Instant::now();
    let fault = server.infer(byte("e", 254)).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Internal);
    let message = "in ensemble 'e', model 'bad': execution failed: asked to fail";
    assert_eq!(fault.client_message(), message);
    assert!(started.elapsed() < Duration::from_millis(240), "nobody waits for the slow one");
    assert_eq!(server.outcomes("slow", "cancelled"), 1.0);
    assert_eq!(server.outcomes("e", "internal"), 1.0);
    assert_eq!(server.outcomes("quick", "ok"), 1.0);
    assert_eq!(server.backend.runs("two").begun, before, "nothing is started after that");
    assert_eq!(server.ask(byte("e", 1)).await, Ok(vec![vec![2], vec![1]]));
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_steps_along() {
    let server = Server::start(&chain("100"));
    let before = (server.backend.runs("one").begun, server.backend.runs("two").begun);
    let blocking = {
        let engine = Arc::clone(&server.engine);
        tokio::spawn(async move { engine.infer(byte("e", 0)).await.unwrap() })
    };
    tokio::time::sleep(Duration::from_millis(30)).await;
    let call = server.infer(byte("e", 1));
    assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    assert_eq!(server.outcomes("one", "cancelled"), 1.0);
    assert_eq!(server.outcomes("e", "cancelled"), 1.0);
    assert_eq!(server.metric("adulis_queue_requests{model=\"one\",version=\"1\"}"), Some(0.0));
    blocking.await.unwrap();
    assert_eq!(server.backend.runs("one").begun, before.0 + 1);
    assert_eq!(server.backend.runs("two").begun, before.1 + 1);
    assert_eq!(server.metric("adulis_requests_in_flight"), Some(0.0));
}

#[tokio::test]
async fn the_time_that_is_left_is_handed_down() {
    let server = Server::start(&chain("150"));
    let mut request = byte("e", 0);
    request.timeout = Some(Duration::from_millis(250));
    let fault = server.infer(request).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::DeadlineExceeded, "counted from its own arrival, it had the time");
    let message = fault.client_message().into_owned();
    assert!(message.starts_with("in ensemble 'e', model 'two': "), "{message}");
    assert_eq!(server.outcomes("two", "deadline_exceeded"), 1.0);
}

#[tokio::test]
async fn priority_and_ids_are_handed_down() {
    let mut one = model("one", 1, &["IN"], &["OUT"], &[("run", "200")]);
    one.config.scheduling = Scheduling::Dynamic(adulis_repository::DynamicBatching {
        priority_levels: 2,
        default_priority_level: 2,
        ..adulis_repository::DynamicBatching::default()
    });
    let server = Server::start(&[
        one,
        ensemble("e", 1, &["IN"], &["OUT"], &["one: IN=IN -> OUT=OUT"]),
    ]);
    let ask = |priority, id: &str| {
        let (engine, mut request) = (Arc::clone(&server.engine), byte("e", 0));
        (request.priority, request.id) = (priority, id.into());
        tokio::spawn(async move {
            let response = engine.infer(request).await.unwrap();
            (Instant::now(), response.id)
        })
    };
    let first = ask(2, "first");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let low = ask(2, "low");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let high = ask(1, "high");
    let (first, low, high) = (first.await.unwrap(), low.await.unwrap(), high.await.unwrap());
    assert!(first.0 < high.0 && high.0 < low.0, "the higher priority overtakes in the step's queue");
    assert_eq!((&*first.1, &*low.1, &*high.1), ("first", "low", "high"));
}
