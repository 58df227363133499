use adulis_repository::{InitialData, InitialState, SequenceState};

use super::*;

fn state(input: &str, output: &str, dims: &[i64]) -> SequenceState {
    SequenceState {
        input_name: input.to_owned(),
        output_name: output.to_owned(),
        datatype: DataType::Int32,
        dims: dims.to_vec(),
        initial: None,
        use_same_buffer: false,
    }
}

/// The running sum, which the server keeps.
pub(crate) fn implicit() -> ModelEntry {
    let mut model = oldest(64);
    batching(&mut model).control_inputs = vec![ready()];
    batching(&mut model).states = vec![state("INPUT_STATE", "OUTPUT_STATE", &[1])];
    model
}

/// A state that grows by one with each request.
pub(crate) fn growing() -> ModelEntry {
    let mut model = oldest(64);
    model.config.backend = Some("scripted".to_owned());
    batching(&mut model).control_inputs = vec![];
    let first = InitialState { name: String::new(), dims: vec![1], data: InitialData::Zero };
    batching(&mut model).states =
        vec![SequenceState { initial: Some(first), ..state("STATE", "NEXT", &[-1]) }];
    model
}

#[tokio::test]
async fn what_a_sequence_has_come_to_is_given_to_its_next_request_and_to_no_other() {
    for strategy in [None, Some(SequenceStrategy::default())] {
        let mut model = implicit();
        if let Some(strategy) = strategy {
            batching(&mut model).strategy = strategy;
        }
        let server = Server::start(&[model]);
        for id in 1..=4_u64 {
            assert_eq!(server.ask(id, START, id as i32).await.unwrap(), id as i32);
        }
        assert_eq!(server.ask(3, MIDDLE, 10).await.unwrap(), 13);
        assert_eq!(server.ask(1, MIDDLE, 10).await.unwrap(), 11);
        assert_eq!(server.ask(3, MIDDLE, 10).await.unwrap(), 23);
        assert_eq!(server.ask(3, START, 1).await.unwrap(), 1, "a start begins with nothing");
        assert_eq!(server.ask(1, END, 1).await.unwrap(), 12);
        assert_eq!(server.ask(1, START, 1).await.unwrap(), 1, "and so does another sequence of the slot");
        assert_eq!(server.ask(2, MIDDLE, 1).await.unwrap(), 3);
    }
}

#[tokio::test]
async fn a_state_is_answered_only_if_it_is_declared_as_an_output() {
    let server = Server::start(&[implicit()]);
    let answer = server.engine.infer(request(1, START, 5)).await.unwrap();
    let names: Vec<&str> = answer.outputs.iter().map(|output| &*output.name).collect();
    assert_eq!(names, ["OUTPUT"]);
    let mut model = implicit();
    model.config.outputs.push(TensorConfig::new("OUTPUT_STATE", DataType::Int32, [1]));
    let server = Server::start(&[model]);
    let answer = server.engine.infer(request(1, START, 5)).await.unwrap();
    let names: Vec<&str> = answer.outputs.iter().map(|output| &*output.name).collect();
    assert_eq!(names, ["OUTPUT", "OUTPUT_STATE"]);
    assert_eq!(server.ask(1, MIDDLE, 1).await.unwrap(), 6, "it is kept all the same");
}

#[tokio::test]
async fn a_sequence_begins_with_the_state_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hundred");
    std::fs::write(&file, 100_i32.to_le_bytes()).unwrap();
    let mut model = implicit();
    let first = InitialState { name: String::new(), dims: vec![1], data: InitialData::File(file) };
    batching(&mut model).states[0].initial = Some(first);
    let server = Server::start(&[model]);
    assert_eq!(server.ask(1, START, 1).await.unwrap(), 101);
    assert_eq!(server.ask(1, MIDDLE, 1).await.unwrap(), 102);
    assert_eq!(server.ask(2, WHOLE, 5).await.unwrap(), 105);
}

#[tokio::test]
async fn states_of_different_shapes_do_not_meet_in_one_run() {
    for strategy in [None, Some(SequenceStrategy::default())] {
        let mut model = growing();
        if let Some(strategy) = strategy {
            batching(&mut model).strategy = strategy;
        }
        let server = Server::start(&[model]);
        server.ask(1, START, 1).await.unwrap();
        server.ask(1, MIDDLE, 2).await.unwrap();
        server.ask(2, START, 10).await.unwrap();
        let mut asked = Vec::new();
        for (id, flags, value) in [(1, MIDDLE, 3), (2, MIDDLE, 20), (3, START, 100)] {
            asked.push(server.spawn(id, flags, value).await);
        }
        let mut sums = Vec::new();
        for task in asked {
            sums.push(task.await.unwrap().unwrap());
        }
        assert_eq!(sums, [6, 30, 100]);
    }
}

#[tokio::test]
async fn a_model_that_is_loaded_again_knows_nothing_of_the_sequences_before() {
    for model in [direct(), implicit()] {
        let server = Server::start(std::slice::from_ref(&model));
        server.ask(1, START, 5).await.unwrap();
        server.engine.load(&[model]);
        let gone = message(server.ask(1, MIDDLE, 1).await);
        assert!(gone.contains("must specify the START flag"), "{gone}");
        assert_eq!(server.ask(1, START, 7).await.unwrap(), 7);
    }
}
