use adulis_repository::TensorConfig;
use adulis_tensor::DataType;

use super::*;

/// An ensemble of these steps: `(inputs, outputs)`, each tensor as the step's model calls it and as the ensemble does.
pub(crate) fn graph(
    inputs: &[&str],
    outputs: &[&str],
    steps: &[(&[&str], &[&str])],
) -> Result<Graph, LoadError> {
    let tensors = |names: &[&str]| {
        let tensor = |name: &&str| TensorConfig::new(*name, DataType::Fp32, [1]);
        names.iter().map(tensor).collect::<Vec<_>>()
    };
    let map = |names: &[&str]| names.iter().map(|name| (format!("m_{name}"), (*name).to_owned())).collect();
    let step = |(index, (inputs, outputs)): (usize, &(&[&str], &[&str]))| EnsembleStep {
        model_name: format!("model{index}"),
        input_map: map(inputs),
        output_map: map(outputs),
        ..EnsembleStep::default()
    };
    let config =
        ModelConfig { inputs: tensors(inputs), outputs: tensors(outputs), ..ModelConfig::derived("e") };
    let ensemble = Config { steps: steps.iter().enumerate().map(step).collect(), max_inflight_requests: 0 };
    Graph::new(&config, &ensemble)
}

fn refusal(graph: Result<Graph, LoadError>) -> String {
    graph.unwrap_err().to_string()
}

#[test]
fn only_steps_that_lead_to_nothing_but_unwanted_outputs_are_left_out() {
    let steps: &[(&[&str], &[&str])] = &[
        (&["in"], &["a"]),
        (&["a"], &["b", "x"]),
        (&["a"], &["c"]),
        (&["c", "b"], &["y"]),
        (&["in"], &["log"]),
    ];
    let graph = graph(&["in"], &["x", "y"], steps).unwrap();
    assert_eq!(&*graph.wanted(|_| true), [true; 5]);
    assert_eq!(&*graph.wanted(|output| output == 0), [true, true, false, false, true], "x alone");
    assert_eq!(
        &*graph.wanted(|output| output == 1),
        [true; 5],
        "y takes what the maker of x makes beside it"
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let twice = graph(&["in"], &["a"], &[(&["in"], &["a"]), (&["in"], &["a"])]);
    assert_eq!(refusal(twice), "ensemble_scheduling: the tensor 'a' is made twice");
    let input = graph(&["in"], &["in"], &[(&["in"], &["in"])]);
    assert_eq!(refusal(input), "ensemble_scheduling: the tensor 'in' is made twice");
    let nothing = graph(&["in"], &["a"], &[(&["b"], &["a"])]);
    assert_eq!(refusal(nothing), "ensemble_scheduling.step[0]: nothing makes the tensor 'b'");
    let output = graph(&["in"], &["b"], &[(&["in"], &["a"])]);
    assert_eq!(refusal(output), "output: nothing makes the tensor 'b'");
    let circle = graph(&["in"], &["a"], &[(&["b", "in"], &["a"]), (&["a"], &["b"])]);
    assert_eq!(refusal(circle), "ensemble_scheduling: steps wait for each other's outputs");
    let idle = graph(&["in"], &["a"], &[(&[], &["a"])]);
    assert_eq!(refusal(idle), "ensemble_scheduling.step[0]: nothing starts it: input_map is empty");
}
