use std::sync::mpsc;

use adulis_types::Parameters;

use super::*;
use crate::{BatchRequest, Gone, ResponseSink};

enum Event {
    Answer(i32, u32),
    End(Result<(), String>),
}

struct Sink(mpsc::Sender<Event>);

impl ResponseSink for Sink {
    fn send(&mut self, response: Response, is_last: bool) -> Result<(), Gone> {
        assert!(!is_last, "the end comes behind the last answer");
        assert_eq!(response.parameters, Parameters::default());
        let word = |index: usize| -> [u8; 4] { response.outputs[index].data()[..].try_into().unwrap() };
        let answer = Event::Answer(i32::from_le_bytes(word(0)), u32::from_le_bytes(word(1)));
        self.0.send(answer).map_err(|_| Gone)
    }

    fn end(&mut self, outcome: Result<(), String>) {
        self.0.send(Event::End(outcome)).unwrap();
    }

    fn is_gone(&self) -> bool {
        false
    }
}

fn request(declared: Option<ModelSignature>) -> LoadRequest {
    LoadRequest {
        name: "repeat".into(),
        version: 1,
        path: "none".into(),
        declared,
        options: crate::EngineOptions::default(),
    }
}

fn input(index: usize, words: &[u32]) -> BatchInput {
    let spec = signature().inputs[index].clone();
    let shape = Shape::new(&[words.len()]);
    let data: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let part = Tensor::new(spec.datatype, shape.clone(), data.into()).unwrap();
    BatchInput { index, name: spec.name, datatype: spec.datatype, shape, parts: vec![part] }
}

fn run(values: &[u32], delays: &[u32], wait: u32) -> (Result<(), BackendError>, Vec<Event>) {
    let mut instance = Repeat.load(&request(None)).unwrap().instance().unwrap();
    let (sender, events) = mpsc::channel();
    let responder = Responder::new(BatchRequest::default(), Sink(sender));
    let outcome = instance.respond(&[input(0, values), input(1, delays), input(2, &[wait])], vec![responder]);
    (outcome, events.iter().collect())
}

#[test]
fn every_value_is_an_answer_with_its_index_and_the_end_is_told_behind_them() {
    let started = Instant::now();
    let (outcome, events) = run(&[7, u32::MAX], &[20, 0], 1);
    outcome.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(20));
    assert!(matches!(&events[..], [Event::Answer(7, 0), Event::Answer(-1, 1), Event::End(Ok(()))]));
}

#[test]
fn no_values_give_no_answer_and_the_instance_is_held_as_long_as_it_is_to_be() {
    let started = Instant::now();
    let (outcome, events) = run(&[], &[], 30);
    outcome.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(30));
    assert!(matches!(&events[..], [Event::End(Ok(()))]));
}

#[test]
fn values_and_delays_must_be_of_one_length() {
    let (outcome, events) = run(&[1, 2], &[0], 0);
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, BackendError::Input { reason } if reason.contains("got 2 and 1 values")),
        "{error}"
    );
    assert!(events.is_empty());
}

#[test]
fn other_tensors_are_refused() {
    let mut fixed = signature();
    fixed.inputs[0].shape = ShapePattern::new(&[4]);
    Repeat.load(&request(Some(fixed))).unwrap();
    let mut other = signature();
    other.outputs[0].datatype = DataType::Fp32;
    let refused = Repeat.load(&request(Some(other))).err().unwrap().to_string();
    assert!(refused.contains("OUT INT32 [1]"), "{refused}");
}
