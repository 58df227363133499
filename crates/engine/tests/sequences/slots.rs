use adulis_repository::{InstanceGroup, InstanceKind};
use adulis_types::ErrorKind;

use super::*;

#[tokio::test]
async fn each_sequence_has_its_own_sum_under_both_strategies() {
    for model in [direct(), oldest(4)] {
        let server = Server::start(&[model]);
        for id in 1..=4_u64 {
            assert_eq!(server.ask(id, START, id as i32).await.unwrap(), id as i32);
        }
        for round in 1..=5 {
            for id in [3_u64, 1, 4, 2] {
                let sum = server.ask(id, MIDDLE, 10).await.unwrap();
                assert_eq!(sum, id as i32 + 10 * round, "sequence {id}, round {round}");
            }
        }
        assert_eq!(server.active(), 4.0);
        server.ask(2, END, 0).await.unwrap();
        assert_eq!(server.active(), 3.0);
        assert_eq!(server.ask(2, START, 7).await.unwrap(), 7, "a new sequence of the same id");
        assert_eq!(server.ask(3, START, 8).await.unwrap(), 8, "an open one begins anew");
    }
}

#[tokio::test]
async fn requests_of_a_sequence_run_in_their_order_however_many_sequences_there_are() {
    let fast = [("execute_delay_microseconds", "500")];
    for model in [direct(), oldest(2), oldest(64)] {
        let mut model = with_parameters(model, &fast);
        model.config.instance_group =
            vec![InstanceGroup { count: 2, kind: InstanceKind::Cpu, ..InstanceGroup::default() }];
        let server = Server::start(&[model]);
        let mut asked = Vec::new();
        for step in 0..8 {
            for id in 1..=12_u64 {
                let flags = (step == 0, step == 7);
                asked.push((id, step, server.spawn(id, flags, step + 1).await));
            }
        }
        for (id, step, task) in asked {
            let sum = task.await.unwrap().unwrap();
            let expected: i32 = (1..=step + 1).sum();
            let with_id = expected + id as i32;
            assert!(sum == expected || (step == 7 && sum == with_id), "{id}, {step}: {sum}");
        }
        assert_eq!(server.active(), 0.0);
        let runs = server.metric("adulis_executions_total{model=\"m\",version=\"1\"}");
        assert!(runs < 96.0, "{runs} runs for 96 requests: sequences share batches");
    }
}

#[tokio::test]
async fn what_does_not_fit_waits_for_a_slot_in_the_order_of_the_starts() {
    let mut model = direct();
    model.config.max_batch_size = Some(2);
    let server = Server::start(&[model]);
    server.ask(1, START, 1).await.unwrap();
    server.ask(2, START, 2).await.unwrap();
    let waiting = [server.spawn(3, START, 3).await, server.spawn(4, START, 4).await];
    let follows = server.spawn(3, MIDDLE, 30).await;
    assert_eq!(server.metric("adulis_sequences_backlog{model=\"m\",version=\"1\"}"), 2.0);
    assert!(waiting.iter().all(|task| !task.is_finished()));
    assert_eq!(server.ask(1, MIDDLE, 10).await.unwrap(), 11);
    assert_eq!(server.ask(1, END, 10).await.unwrap(), 21);
    let [third, fourth] = waiting;
    assert_eq!(third.await.unwrap().unwrap(), 3);
    assert_eq!(follows.await.unwrap().unwrap(), 33);
    assert!(!fourth.is_finished());
    server.ask(2, END, 0).await.unwrap();
    assert_eq!(fourth.await.unwrap().unwrap(), 4);
}

#[tokio::test]
async fn without_a_batch_dimension_an_instance_has_one_sequence() {
    let mut model = direct();
    model.config.max_batch_size = Some(0);
    model.config.instance_group =
        vec![InstanceGroup { count: 2, kind: InstanceKind::Cpu, ..InstanceGroup::default() }];
    let server = Server::start(&[model]);
    let ask = |id: u64, flags, value: i32| {
        let mut request = request(id, flags, value);
        let data = request.inputs[0].tensor.data().clone();
        request.inputs[0].tensor = Tensor::new(DataType::Int32, Shape::from([1]), data).unwrap();
        let engine = Arc::clone(&server.engine);
        tokio::spawn(async move { engine.infer(request).await.map(|response| number(&response)) })
    };
    assert_eq!(ask(1, START, 1).await.unwrap().unwrap(), 1);
    assert_eq!(ask(2, START, 2).await.unwrap().unwrap(), 2);
    let third = ask(3, START, 3);
    assert_eq!(ask(1, MIDDLE, 10).await.unwrap().unwrap(), 11);
    assert!(!third.is_finished());
    assert_eq!(ask(2, END, 10).await.unwrap().unwrap(), 12);
    assert_eq!(third.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn a_delay_lets_sequences_share_a_batch() {
    let mut model = direct();
    batching(&mut model).strategy =
        SequenceStrategy::Direct { max_queue_delay: Duration::from_secs(30), minimum_slot_utilization: 1.0 };
    let server = Server::start(&[model]);
    let mut asked = Vec::new();
    for id in 1..=4_u64 {
        asked.push(server.spawn(id, START, id as i32).await);
    }
    for (index, task) in asked.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().unwrap(), index as i32 + 1);
    }
    assert_eq!(server.metric("adulis_executions_total{model=\"m\",version=\"1\"}"), 1.0);
    assert_eq!(server.metric("adulis_inference_rows_total{model=\"m\",version=\"1\"}"), 4.0);
}

#[tokio::test]
async fn a_sequence_that_is_idle_for_too_long_makes_room() {
    let mut model = direct();
    model.config.max_batch_size = Some(1);
    batching(&mut model).max_sequence_idle = Duration::from_millis(150);
    let server = Server::start(&[model]);
    server.ask(1, START, 1).await.unwrap();
    let waiting = server.spawn(2, START, 2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.ask(1, MIDDLE, 1).await.unwrap(), 2, "not idle yet");
    let waiting = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert_eq!(waiting.expect("nobody asks for the first any more").unwrap().unwrap(), 2);
    let gone = message(server.ask(1, MIDDLE, 1).await);
    assert!(gone.contains("must specify the START flag"), "{gone}");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while server.active() > 0.0 {
        assert!(std::time::Instant::now() < deadline, "idle sequences are given up though nobody asks");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn requests_that_cannot_be_of_a_sequence_are_refused_and_say_why() {
    let server = Server::start(&[oldest(4)]);
    let told = |answer: Result<InferResponse, Fault>| {
        let fault = answer.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::InvalidArgument, "{fault}");
        fault.client_message().to_string()
    };
    let no_id = told(server.engine.infer(plain(1, 1)).await);
    assert_eq!(
        no_id,
        "inference request to model 'm' must specify a non-zero or non-empty correlation ID"
    );
    let not_started = told(server.engine.infer(request(42, MIDDLE, 1)).await);
    assert_eq!(
        not_started,
        "inference request for sequence 42 to model 'm' must specify the START flag on the first request of the sequence"
    );
    let text = told(server.engine.infer(request("42", START, 1)).await);
    assert_eq!(text, "model 'm': the correlation ID '42' cannot be told to the model as UINT64");
    let mut two = request(42, START, 1);
    two.inputs = plain(2, 1).inputs;
    let rows = told(server.engine.infer(two).await);
    assert!(
        rows.contains("must specify batch-size 1 due to requirements of sequence batcher"),
        "{rows}"
    );
    assert_eq!(server.ask(42, START, 5).await.unwrap(), 5);
    server.ask(42, END, 5).await.unwrap();
    assert!(message(server.ask(42, MIDDLE, 1).await).contains("START"), "it has ended");
}

#[tokio::test]
async fn a_model_that_does_not_batch_sequences_ignores_where_a_request_stands() {
    let mut model = direct();
    model.config.scheduling = Scheduling::Unconfigured;
    model.config.inputs[0].name = "INPUT".to_owned();
    model.config.backend = Some("identity".to_owned());
    let server = Server::start(&[model]);
    assert_eq!(server.ask(1, MIDDLE, 5).await.unwrap(), 5);
    assert_eq!(server.ask("a", END, 6).await.unwrap(), 6);
}

// One I/O thread: tasks that are woken in order run in order.
#[tokio::test]
async fn answers_leave_in_the_order_of_their_batches_where_the_model_wants_that() {
    let mut model = with_parameters(oldest(4), &[("execute_delay_row_microseconds", "40000")]);
    model.config.instance_group =
        vec![InstanceGroup { count: 2, kind: InstanceKind::Cpu, ..InstanceGroup::default() }];
    batching(&mut model).strategy = SequenceStrategy::Oldest {
        max_candidate_sequences: 4,
        preferred_batch_size: vec![3],
        max_queue_delay: Duration::from_millis(40),
        preserve_ordering: true,
    };
    let server = Server::start(&[model]);
    // They go to the instances in turn: the odd ones to one, the even ones to the other.
    for id in 1..=5_u64 {
        server.ask(id, START, 0).await.unwrap();
    }
    let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
    for id in [1_u64, 3, 5, 2] {
        let (engine, told) = (Arc::clone(&server.engine), told.clone());
        tokio::spawn(async move {
            engine.infer(request(id, MIDDLE, 1)).await.unwrap();
            told.send(id).unwrap();
        });
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(order.recv().await.unwrap());
    }
    assert_eq!(seen, [1, 3, 5, 2], "the one alone was ready sooner than the three together");
    let runs = server.metric("adulis_executions_total{model=\"m\",version=\"1\"}");
    assert_eq!(runs, 7.0, "five starts and two batches");
}
