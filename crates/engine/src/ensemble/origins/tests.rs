use proptest::prelude::*;

use super::super::graph::tests::graph;
use super::*;

type Steps<'a> = &'a [(&'a [&'a str], &'a [&'a str])];

fn origins(outputs: &[&str], steps: Steps<'_>, decoupled: &[usize]) -> Result<Origins, Clash> {
    let flags: Vec<bool> = (0..steps.len()).map(|step| decoupled.contains(&step)).collect();
    Origins::new(&graph(&["in"], outputs, steps).unwrap(), &flags)
}

#[test]
fn what_follows_a_decoupled_step_comes_with_its_answers() {
    // Written down in an order in which they cannot run.
    let steps: Steps<'_> = &[(&["c", "b"], &["out"]), (&["in"], &["a"]), (&["a"], &["b", "c"])];
    let found = origins(&["out"], steps, &[2]).unwrap();
    assert_eq!(&*found.steps, [Some(2), None, None]);
    assert_eq!(found.outputs(), Some(2));
    assert!(found.is_decoupled(2) && !found.is_decoupled(0));
    assert_eq!(origins(&["out"], steps, &[]).unwrap().outputs(), None);
    assert_eq!(origins(&["out"], steps, &[1, 2, 0]).unwrap().outputs(), Some(0), "each begins anew");
    let after = origins(&["b", "c"], steps, &[0]).unwrap();
    assert_eq!((after.outputs(), after.steps[0]), (None, None), "its answers lead to no output");
}

#[test]
fn what_does_not_come_together_cannot_meet() {
    let joins: Steps<'_> = &[(&["in"], &["a"]), (&["in"], &["b"]), (&["a", "b"], &["out"])];
    for (decoupled, first, other) in [
        (&[0][..], (1, Some(0)), (2, None)),
        (&[1], (1, None), (2, Some(1))),
        (&[0, 1], (1, Some(0)), (2, Some(1))),
    ] {
        let clash = origins(&["out"], joins, decoupled).unwrap_err();
        assert_eq!(clash, Clash { step: Some(2), tensors: [first, other] });
    }
    let input: Steps<'_> = &[(&["in"], &["a"]), (&["a", "in"], &["out"])];
    let clash = origins(&["out"], input, &[0]).unwrap_err();
    assert_eq!(clash, Clash { step: Some(1), tensors: [(1, Some(0)), (0, None)] });
    let outputs: Steps<'_> = &[(&["in"], &["a"]), (&["in"], &["b"])];
    let clash = origins(&["a", "b"], outputs, &[1]).unwrap_err();
    assert_eq!(clash, Clash { step: None, tensors: [(1, None), (2, Some(1))] });
}

/// How a tensor came about: the decoupled steps on the way to it, in order.
fn path(graph: &Graph, decoupled: &[bool], tensor: usize) -> Vec<usize> {
    let Some(maker) = graph.tensors[tensor].maker else {
        return Vec::new();
    };
    let mut path = path(graph, decoupled, graph.steps[maker].inputs[0].1);
    if decoupled[maker] {
        path.push(maker);
    }
    path
}

proptest! {
    #[test]
    fn steps_are_taken_exactly_if_all_they_take_came_the_same_way(
        random in prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 1..3), any::<bool>()), 1..8),
    ) {
        let mut names = vec!["in".to_owned()];
        let mut steps: Vec<(Vec<String>, Vec<String>)> = Vec::new();
        for (taken, _) in &random {
            let mut taken: Vec<String> = taken.iter().map(|index| index.get(&names).clone()).collect();
            taken.sort();
            taken.dedup();
            let made = format!("t{}", names.len());
            names.push(made.clone());
            steps.push((taken, vec![made]));
        }
        let borrowed: Vec<(Vec<&str>, Vec<&str>)> = steps
            .iter()
            .map(|(taken, made)| (taken.iter().map(String::as_str).collect(), made.iter().map(String::as_str).collect()))
            .collect();
        let steps: Vec<(&[&str], &[&str])> = borrowed.iter().map(|(taken, made)| (&**taken, &**made)).collect();
        let last = names.last().unwrap().as_str();
        let graph = graph(&["in"], &[last], &steps).unwrap();
        let decoupled: Vec<bool> = random.iter().map(|(_, decoupled)| *decoupled).collect();
        let fits = graph.steps.iter().all(|step| {
            let mut paths = step.inputs.iter().map(|(_, tensor)| path(&graph, &decoupled, *tensor));
            let first = paths.next();
            paths.all(|path| Some(path) == first)
        });
        let origins = Origins::new(&graph, &decoupled);
        prop_assert_eq!(origins.is_ok(), fits);
        if let Ok(origins) = origins {
            for tensor in 0..graph.tensors.len() {
                let came = path(&graph, &decoupled, tensor);
                prop_assert_eq!(origins.tensor(&graph, tensor), came.last().copied());
            }
        }
    }
}
