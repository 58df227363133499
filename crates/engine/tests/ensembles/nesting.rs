use super::*;

#[tokio::test]
async fn an_ensemble_may_be_a_step_of_an_ensemble() {
    let entries = [
        // Named first: what it is made of is loaded before it all the same.
        ensemble("a", 8, &["IN"], &["OUT"], &["b: IN=IN -> OUT=x", "plus1: IN=x -> OUT=OUT"]),
        ensemble(
            "b",
            8,
            &["IN"],
            &["OUT", "HALF"],
            &["plus1: IN=IN -> OUT=HALF", "plus2: IN=HALF -> OUT=OUT"],
        ),
        adder("plus1", "1"),
        adder("plus2", "2"),
    ];
    let server = Server::start(&entries);
    assert!(server.engine.ready());
    assert_eq!(server.ask(byte("a", 5)).await, Ok(vec![vec![9]]));
    let failed = server.ask(byte("a", 255)).await.unwrap_err();
    assert_eq!(failed, "in ensemble 'a', in ensemble 'b', model 'plus1': execution failed: asked to fail");
}

#[tokio::test]
async fn ensembles_that_wait_for_each_other_are_not_ready() {
    let entries = [
        ensemble("a", 8, &["IN"], &["OUT"], &["b: IN=IN -> OUT=OUT"]),
        ensemble("b", 8, &["IN"], &["OUT"], &["plus: IN=IN -> OUT=x", "a: IN=x -> OUT=OUT"]),
        ensemble("c", 8, &["IN"], &["OUT"], &["a: IN=IN -> OUT=OUT"]),
        adder("plus", "1"),
    ];
    let server = Server::start(&entries);
    assert!(!server.engine.ready());
    for name in ["a", "b", "c"] {
        let reason = server.reason(name);
        assert!(reason.contains("ensembles wait for each other: "), "{name}: {reason}");
        let error = server.ask(byte(name, 0)).await.unwrap_err();
        assert!(error.contains("wait for each other"), "{error}");
    }
    assert!(server.ask(byte("plus", 0)).await.is_ok());
}

#[tokio::test]
async fn depth_and_steps_are_bounded() {
    let nested = |depth: usize, steps: usize| {
        let mut entries = vec![adder("e0", "0")];
        for level in 1..=depth {
            let below = format!("e{}", level - 1);
            let steps: Vec<String> =
                (0..steps).map(|step| format!("{below}: IN=IN -> OUT=t{step}")).collect();
            let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
            let mut outer = ensemble(&format!("e{level}"), 8, &["IN"], &["t0"], &steps);
            outer.config.outputs = vec![tensor("t0")];
            entries.push(outer);
        }
        entries
    };
    let renamed = |mut entries: Vec<ModelEntry>| {
        for entry in entries.iter_mut().skip(2) {
            if let Scheduling::Ensemble(ensemble) = &mut entry.config.scheduling {
                for step in &mut ensemble.steps {
                    step.output_map =
                        step.output_map.values().map(|t| ("t0".to_owned(), t.clone())).collect();
                }
            }
        }
        entries
    };
    let server = Server::start(&renamed(nested(40, 1)));
    assert_eq!(server.ask(byte("e16", 3)).await, Ok(vec![vec![3]]));
    for name in ["e17", "e18", "e40"] {
        let reason = server.reason(name);
        assert!(reason.ends_with("ensembles are made of ensembles more than 16 deep"), "{name}: {reason}");
    }
    let server = Server::start(&renamed(nested(7, 4)));
    assert_eq!(server.ask(byte("e6", 3)).await, Ok(vec![vec![3]]), "4096 steps");
    let reason = server.reason("e7");
    assert!(
        reason.contains("it has 16384 steps, those of its steps counted in; at most 4096"),
        "{reason}"
    );
}
