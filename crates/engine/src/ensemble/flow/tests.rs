use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::graph::tests::graph;
use super::*;

#[test]
fn a_diamond_runs_its_middle_at_the_same_time_and_its_end_once() {
    let steps: &[(&[&str], &[&str])] = &[
        (&["in"], &["a"]),
        (&["a"], &["b"]),
        (&["a"], &["c"]),
        (&["b", "c"], &["out"]),
    ];
    let graph = graph(&["in"], &["out"], steps).unwrap();
    let value = Arc::new(());
    let mut flow = Flow::new(&graph, |_| true);
    assert_eq!(flow.next(), None);
    flow.set(0, Some(Arc::clone(&value)));
    assert_eq!((flow.next(), flow.next()), (Some(0), None));
    drop(flow.take(0));
    assert_eq!(Arc::strong_count(&value), 1, "nobody else takes the input: it is given away");
    flow.set(1, Some(Arc::clone(&value)));
    assert_eq!((flow.next(), flow.next(), flow.next()), (Some(1), Some(2), None));
    assert!(flow.take(1).is_some());
    assert_eq!(Arc::strong_count(&value), 2, "the other half of the middle takes it, too");
    assert!(flow.take(1).is_some());
    assert_eq!(Arc::strong_count(&value), 1);
    flow.set(3, Some(Arc::clone(&value)));
    assert_eq!(flow.next(), None);
    flow.set(2, None);
    assert_eq!((flow.next(), flow.next()), (Some(3), None), "what will never be there is not waited for");
    assert!(flow.take(2).is_none());
}

/// Steps of a random ensemble: each takes some of what was made before it and makes one or two tensors.
fn random_steps() -> impl Strategy<Value = Vec<(Vec<prop::sample::Index>, usize)>> {
    let step = (prop::collection::vec(any::<prop::sample::Index>(), 1..4), 1..3_usize);
    prop::collection::vec(step, 1..12)
}

proptest! {
    #[test]
    fn every_wanted_step_runs_once_behind_its_inputs_and_every_output_is_made(
        random in random_steps(),
        asked in any::<u32>(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let mut names: Vec<String> = vec!["in0".to_owned(), "in1".to_owned()];
        let mut steps: Vec<(Vec<String>, Vec<String>)> = Vec::new();
        for (taken, made) in &random {
            let taken: BTreeSet<String> = taken.iter().map(|index| index.get(&names).clone()).collect();
            let made: Vec<String> = (0..*made).map(|index| format!("t{}", names.len() + index)).collect();
            names.extend(made.iter().cloned());
            steps.push((taken.into_iter().collect(), made));
        }
        let outputs: Vec<&str> = names[2..].iter().step_by(2).map(String::as_str).collect();
        let borrowed: Vec<(Vec<&str>, Vec<&str>)> = steps
            .iter()
            .map(|(a, b)| (a.iter().map(String::as_str).collect(), b.iter().map(String::as_str).collect()))
            .collect();
        let sliced: Vec<(&[&str], &[&str])> = borrowed.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        let graph = graph(&["in0", "in1"], &outputs, &sliced).unwrap();
        let asked = |output: usize| asked >> (output % 32) & 1 == 1;

        let mut flow = Flow::new(&graph, asked);
        let mut there: BTreeSet<usize> = [0, 1].into();
        flow.set(0, Some(0));
        flow.set(1, Some(1));
        let (mut running, mut started, mut picks) = (Vec::new(), BTreeSet::new(), picks.into_iter());
        loop {
            while let Some(step) = flow.next() {
                prop_assert!(started.insert(step), "step {} is started twice", step);
                for (_, tensor) in &graph.steps[step].inputs {
                    prop_assert!(there.contains(tensor));
                    prop_assert_eq!(flow.take(*tensor), Some(*tensor));
                }
                running.push(step);
            }
            if running.is_empty() {
                break;
            }
            let next = picks.next().map_or(0, |pick| pick.index(running.len()));
            for (_, tensor) in &graph.steps[running.swap_remove(next)].outputs {
                there.insert(*tensor);
                flow.set(*tensor, Some(*tensor));
            }
        }
        let wanted = graph.wanted(asked);
        let wanted: BTreeSet<usize> = (0..wanted.len()).filter(|step| wanted[*step]).collect();
        prop_assert_eq!(started, wanted);
        for (index, tensor) in graph.outputs.iter().enumerate() {
            let value = flow.take(*tensor);
            prop_assert_eq!(value, asked(index).then_some(*tensor));
        }
    }
}
