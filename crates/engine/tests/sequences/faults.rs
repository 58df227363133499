use adulis_types::ErrorKind;

use super::states::growing;
use super::*;

#[tokio::test]
async fn the_sequences_of_an_instance_that_is_lost_are_given_up() {
    let model = with_parameters(direct(), &[("panic_on", "14"), ("execute_delay_microseconds", "30000")]);
    let server = Server::start(&[model]);
    server.ask(1, START, 1).await.unwrap();
    server.ask(2, START, 2).await.unwrap();
    let panics = server.spawn(1, MIDDLE, 14).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let waits = server.spawn(2, MIDDLE, 2).await;
    let begins = server.spawn(3, START, 3).await;
    assert_eq!(message(panics.await.unwrap()), "model 'm': the backend panicked");
    let lost = waits.await.unwrap().unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unavailable);
    assert_eq!(
        lost.client_message(),
        "model 'm': sequence 2 was given up: its instance of the model failed"
    );
    assert_eq!(begins.await.unwrap().unwrap(), 3, "what is about to begin has lost nothing");
    for id in [1, 2] {
        assert!(message(server.ask(id, MIDDLE, 1).await).contains("START"));
        assert_eq!(server.ask(id, START, 5).await.unwrap(), 5);
    }
    assert_eq!(server.metric("adulis_instance_rebuilds_total{model=\"m\",version=\"1\"}"), 1.0);
}

#[tokio::test]
async fn a_request_that_fails_in_the_midst_leaves_its_sequence_open_and_a_start_does_not() {
    let model = with_parameters(direct(), &[("fail_on", "13"), ("execute_delay_microseconds", "30000")]);
    let server = Server::start(&[model]);
    server.ask(1, START, 1).await.unwrap();
    assert!(message(server.ask(1, MIDDLE, 13).await).contains("asked to fail"));
    assert_eq!(server.ask(1, MIDDLE, 1).await.unwrap(), 2);
    let busy = server.spawn(1, MIDDLE, 1).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let start = server.spawn(2, START, 13).await;
    let follows = server.spawn(2, MIDDLE, 1).await;
    assert_eq!(busy.await.unwrap().unwrap(), 3);
    assert!(message(start.await.unwrap()).contains("asked to fail"));
    assert_eq!(
        message(follows.await.unwrap()),
        "model 'm': sequence 2 was given up: the request that starts it failed"
    );
    assert!(message(server.ask(2, MIDDLE, 1).await).contains("START"));
}

#[tokio::test]
async fn where_the_server_keeps_the_states_only_the_poisoned_request_fails() {
    for (poison, told) in [(13, "thirteen"), (14, "the backend panicked")] {
        let server = Server::start(&[growing()]);
        for id in 1..=3_u64 {
            server.ask(id, START, id as i32).await.unwrap();
        }
        let mut asked = Vec::new();
        for (id, value) in [(1, 10), (2, poison), (3, 10)] {
            asked.push(server.spawn(id, MIDDLE, value).await);
        }
        let mut answers = Vec::new();
        for task in asked {
            answers.push(task.await.unwrap());
        }
        assert_eq!(*answers[0].as_ref().unwrap(), 11);
        assert_eq!(*answers[2].as_ref().unwrap(), 13);
        assert!(message(answers.remove(1)).contains(told));
        assert_eq!(server.ask(2, MIDDLE, 1).await.unwrap(), 3, "the sequence goes on from where it was");
    }
}

#[tokio::test]
async fn a_start_whose_caller_goes_away_takes_its_sequence_with_it() {
    let mut model = with_parameters(direct(), &[("execute_delay_microseconds", "50000")]);
    model.config.max_batch_size = Some(1);
    let server = Server::start(&[model]);
    server.ask(1, START, 1).await.unwrap();
    let starts = server.spawn(2, START, 2).await;
    let follows = server.spawn(2, MIDDLE, 2).await;
    let third = server.spawn(3, START, 3).await;
    starts.abort();
    assert!(starts.await.unwrap_err().is_cancelled());
    assert_eq!(
        message(follows.await.unwrap()),
        "model 'm': sequence 2 was given up: the request that starts it was cancelled or timed out"
    );
    assert!(message(server.ask(2, MIDDLE, 1).await).contains("START"));
    server.ask(1, END, 1).await.unwrap();
    assert_eq!(third.await.unwrap().unwrap(), 3);
    assert_eq!(server.metric("adulis_queue_requests{model=\"m\",version=\"1\"}"), 0.0);
}

#[tokio::test]
async fn a_caller_that_goes_away_in_the_midst_leaves_its_sequence_open() {
    let model = with_parameters(direct(), &[("execute_delay_microseconds", "50000")]);
    let server = Server::start(&[model]);
    server.ask(1, START, 1).await.unwrap();
    let runs = server.spawn(1, MIDDLE, 10).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let waits = server.spawn(1, MIDDLE, 100).await;
    waits.abort();
    runs.abort();
    assert_eq!(server.ask(1, MIDDLE, 1000).await.unwrap(), 1011, "what ran counts, what waited does not");
}

#[tokio::test]
async fn a_deadline_ends_the_wait_for_a_slot() {
    let mut model = direct();
    model.config.max_batch_size = Some(1);
    let server = Server::start(&[model]);
    server.ask(1, START, 1).await.unwrap();
    let mut limited = request(2, START, 2);
    limited.timeout = Some(Duration::from_millis(30));
    let late = server.engine.infer(limited).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
    assert!(message(server.ask(2, MIDDLE, 1).await).contains("START"), "it never began");
    server.ask(1, END, 1).await.unwrap();
    assert_eq!(server.ask(2, START, 2).await.unwrap(), 2);
}
