use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use adulis_backend::{Backend, BuiltIn, EngineOptions, LoadRequest, Model};
use tokio::sync::oneshot::{self, Receiver};

use super::*;
use crate::EngineError;
use crate::job::Reply;

fn model() -> Arc<dyn Model> {
    let request = LoadRequest {
        name: "identity".into(),
        version: 1,
        path: PathBuf::new(),
        declared: None,
        options: EngineOptions::default(),
    };
    BuiltIn.load(&request).unwrap()
}

fn ordered_lane(instances: usize) -> BatchLane {
    let model = model();
    let slots = (0..instances).map(|index| Slot::new(index, &*model).unwrap()).collect();
    let inline = InlineLimits::new(Duration::ZERO);
    BatchLane::new(
        Rules {
            policy: BatchPolicy::default(),
            preserve_ordering: true,
            inline,
            admission: None,
            is_watched: false,
            parallel: instances,
        },
        slots,
        CostModel::new(),
    )
}

fn replies() -> (Replies, Receiver<Reply>) {
    let (sender, receiver) = oneshot::channel();
    (vec![(sender, Err(EngineError::Closing))], receiver)
}

#[test]
fn replies_leave_in_the_order_of_their_batches_while_the_queue_is_locked() {
    let lane = Arc::new(ordered_lane(2));
    let queue = lane.state.lock();
    let (done, told) = mpsc::channel();
    let answering = thread::spawn({
        let lane = Arc::clone(&lane);
        move || {
            let ((first, mut one), (second, mut two)) = (replies(), replies());
            lane.answer(1, second);
            let held_back = two.try_recv().is_err();
            lane.answer(0, first);
            done.send((held_back, one.try_recv().is_ok(), two.try_recv().is_ok())).unwrap();
        }
    });
    let told = told.recv_timeout(Duration::from_secs(10));
    drop(queue);
    answering.join().unwrap();
    assert_eq!(told.expect("answering must not wait for the queue's lock"), (true, true, true));
}

#[test]
fn a_single_instance_holds_nothing_back() {
    let lane = ordered_lane(1);
    let (replies, mut caller) = replies();
    lane.answer(1, replies);
    assert!(caller.try_recv().is_ok());
}
