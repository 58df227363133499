use super::*;

/// Why an ensemble of `plus` (batches of 8, `IN` to `OUT`, `[1]`), `wide` (`IN:3` to `OUT:3`), `whole` (no batches, `IN:2,3`)
/// and `sum` (`A`, `B` to `OUT`) is not ready.
fn refused(change: impl FnOnce(&mut ModelConfig), steps: &[&str]) -> String {
    let mut ensemble = ensemble("e", 8, &["IN"], &["OUT"], steps);
    change(&mut ensemble.config);
    let server = Server::start(&[
        adder("plus", "1"),
        model("wide", 8, &["IN:3"], &["OUT:3"], &[]),
        model("whole", 0, &["IN:2,3"], &["OUT:2,3"], &[]),
        model("sum", 8, &["A", "B"], &["OUT"], &[]),
        model("small", 4, &["IN"], &["OUT"], &[]),
        ensemble,
    ]);
    assert!(!server.engine.ready());
    let reason = server.reason("e");
    reason.strip_prefix("UNAVAILABLE ").unwrap_or_else(|| panic!("{reason}")).to_owned()
}

fn same(_: &mut ModelConfig) {}

#[tokio::test]
async fn what_does_not_fit_together_is_named() {
    let cases: [(&[&str], &str); 8] = [
        (&["plsu: IN=IN -> OUT=OUT"], "step[0]: model 'plsu' is not there"),
        (
            &["plus: IN=IN -> OUT=a", "plus: in=a -> OUT=OUT"],
            "step[1] (model 'plus'): it has no input 'in'; it has IN",
        ),
        (
            &["plus: IN=IN -> OUTPUT=OUT"],
            "step[0] (model 'plus'): it has no output 'OUTPUT'; it has OUT",
        ),
        (
            &["sum: A=IN -> OUT=OUT"],
            "step[0] (model 'sum'): its input 'B' is given no tensor by input_map",
        ),
        (
            &["plus: IN=IN -> OUT=a", "wide: IN=a -> OUT=OUT"],
            "step[1] (model 'wide'): input 'IN' is UINT8 [-1,3] with a batch dimension, but tensor 'a' is UINT8 [-1,1] \
             with a batch dimension (output 'OUT' of step[0], model 'plus')",
        ),
        (
            &["wide: IN=IN -> OUT=OUT"],
            "step[0] (model 'wide'): input 'IN' is UINT8 [-1,3] with a batch dimension, but tensor 'IN' is UINT8 [-1,1] \
             with a batch dimension (an input of the ensemble)",
        ),
        (
            &["whole: IN=IN -> OUT=OUT"],
            "step[0] (model 'whole'): input 'IN' is UINT8 [2,3], but tensor 'IN' is UINT8 [-1,1] with a batch dimension \
             (an input of the ensemble)",
        ),
        (
            &["small: IN=IN -> OUT=OUT"],
            "step[0] (model 'small'): it takes 4 rows at most, fewer than the ensemble's max_batch_size of 8",
        ),
    ];
    for (steps, expected) in cases {
        assert_eq!(refused(same, steps), expected);
    }
    let outputs = |config: &mut ModelConfig| config.outputs = vec![tensor("OUT:5")];
    let expected = "output 'OUT' of the ensemble is UINT8 [-1,5] with a batch dimension, but tensor 'OUT' is UINT8 [-1,1] \
                    with a batch dimension (output 'OUT' of step[0], model 'plus')";
    assert_eq!(refused(outputs, &["plus: IN=IN -> OUT=OUT"]), expected);
    let inputs = |config: &mut ModelConfig| config.inputs[0].datatype = DataType::Fp32;
    let expected = "step[0] (model 'plus'): input 'IN' is UINT8 [-1,1] with a batch dimension, but tensor 'IN' is FP32 \
                    [-1,1] with a batch dimension (an input of the ensemble)";
    assert_eq!(refused(inputs, &["plus: IN=IN -> OUT=OUT"]), expected);
    let version = |config: &mut ModelConfig| {
        if let Scheduling::Ensemble(ensemble) = &mut config.scheduling {
            ensemble.steps[0].model_version = Some(7);
        }
    };
    assert_eq!(
        refused(version, &["plus: IN=IN -> OUT=OUT"]),
        "step[0]: model 'plus' has no version 7 (there: 1)"
    );
}

#[tokio::test]
async fn a_data_flow_that_makes_no_sense_is_refused_at_load() {
    let server = Server::start(&[
        adder("plus", "1"),
        ensemble("e", 8, &["IN"], &["OUT"], &["plus: IN=IN -> OUT=OUT", "plus: IN=IN -> OUT=OUT"]),
    ]);
    assert_eq!(server.reason("e"), "UNAVAILABLE ensemble_scheduling: the tensor 'OUT' is made twice");
}

#[tokio::test]
async fn open_dimensions_are_seen_with_each_request() {
    let server = Server::start(&[
        model("open", 8, &["IN:-1"], &["OUT:-1"], &[]),
        model("wide", 8, &["IN:3"], &["OUT:3"], &[]),
        ensemble("e", 8, &["IN:-1"], &["OUT:3"], &["open: IN=IN -> OUT=a", "wide: IN=a -> OUT=OUT"]),
    ]);
    assert_eq!(server.ask(request("e", &[("IN", &[1, 3], &[1, 2, 3])])).await, Ok(vec![vec![1, 2, 3]]));
    let error = server.ask(request("e", &[("IN", &[1, 2], &[1, 2])])).await.unwrap_err();
    assert_eq!(error, "in ensemble 'e', model 'wide': input 'IN' has shape [1,2], expected [-1,3]");
    let error = server.ask(request("e", &[("IN", &[9, 1], &[0; 9])])).await.unwrap_err();
    assert_eq!(error, "model 'e': 9 rows in one request, at most 8 are allowed (max_batch_size)");
}

#[tokio::test]
async fn a_batch_dimension_comes_and_goes_between_models_that_have_one_and_others() {
    let entries = [
        model("rows", 8, &["IN:3"], &["OUT:3"], &[("add", "1")]),
        model("one", 0, &["IN:3"], &["OUT:3"], &[("add", "10")]),
        model("all", 0, &["IN:-1,3"], &["OUT:-1,3"], &[("add", "100")]),
        // With a batch dimension, through models without one.
        ensemble(
            "e",
            8,
            &["IN:3"],
            &["OUT:3"],
            &[
                "rows: IN=IN -> OUT=a",
                "one: IN=a -> OUT=b",
                "rows: IN=b -> OUT=OUT",
            ],
        ),
        ensemble("f", 8, &["IN:3"], &["OUT:3"], &["all: IN=IN -> OUT=a", "rows: IN=a -> OUT=OUT"]),
        // Without one, through models that have one.
        ensemble("g", 0, &["IN:3"], &["OUT:3"], &["rows: IN=IN -> OUT=OUT"]),
        ensemble("h", 0, &["IN:-1,3"], &["OUT:-1,3"], &["rows: IN=IN -> OUT=a", "all: IN=a -> OUT=OUT"]),
    ];
    let server = Server::start(&entries);
    assert!(server.engine.ready(), "{}", server.reason("h"));
    let ask = async |model, shape: &'static [usize], data: &'static [u8]| {
        let response = server.infer(request(model, &[("IN", shape, data)])).await;
        let response = response.map_err(|fault| fault.client_message().into_owned())?;
        let tensor = &response.outputs[0].tensor;
        Ok::<_, String>((tensor.shape().to_vec(), tensor.data().to_vec()))
    };
    assert_eq!(ask("e", &[1, 3], &[0, 1, 2]).await, Ok((vec![1, 3], vec![12, 13, 14])));
    let two = ask("e", &[2, 3], &[0; 6]).await.unwrap_err();
    assert_eq!(two, "in ensemble 'e', model 'one': input 'IN' has shape [2,3], expected [3]");
    assert_eq!(ask("f", &[2, 3], &[0; 6]).await, Ok((vec![2, 3], vec![101; 6])));
    assert_eq!(ask("g", &[3], &[0; 3]).await, Ok((vec![3], vec![1; 3])));
    assert_eq!(ask("h", &[2, 3], &[0; 6]).await, Ok((vec![2, 3], vec![101; 6])));
}
