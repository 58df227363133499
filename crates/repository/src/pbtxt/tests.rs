use toml::Value;

use super::*;

fn parsed(text: &str) -> Table {
    let mut faults = Faults::default();
    let table = parse(text, &mut faults);
    assert_eq!(faults.into_vec(), []);
    table
}

fn fault(text: &str) -> String {
    let mut faults = Faults::default();
    parse(text, &mut faults);
    let faults = faults.into_vec();
    assert_eq!(faults.len(), 1);
    faults[0].to_string()
}

#[test]
fn all_spellings_of_the_text_format() {
    let table = parsed(
        r#"
        # comment
        name: "a" 'b'
        max_batch_size: 0;
        input [ { name: "x", data_type: TYPE_FP32, dims: [ 3, -1 ] }, < name: "y" data_type: 9 dims: 1 dims: 2 > ]
        parameters { key: "k" value: { string_value: "v" } }
        version_policy: { all {} }
        instance_group { kind: KIND_CPU }
        "#,
    );
    let expected: Table = toml::from_str(
        r#"
        name = "ab"
        max_batch_size = 0
        parameters.k.string_value = "v"
        version_policy.all = {}
        instance_group = [{ kind = "KIND_CPU" }]
        [[input]]
        name = "x"
        data_type = "TYPE_FP32"
        dims = [3, -1]
        [[input]]
        name = "y"
        data_type = "TYPE_INT64"
        dims = [1, 2]
        "#,
    )
    .unwrap();
    assert_eq!(table, expected);
}

#[test]
fn absent_and_zero_batch_size_differ() {
    assert!(!parsed("name: 'x'").contains_key("max_batch_size"));
    assert_eq!(parsed("max_batch_size: 0")["max_batch_size"], Value::Integer(0));
}

#[test]
fn faults_have_line_and_near_miss() {
    assert_eq!(
        fault("name: 'x'\nmax_batchsize: 3"),
        "line 2: max_batchsize: unknown key; did you mean max_batch_size?"
    );
    assert_eq!(
        fault("\n\ninput { name: 'x'\n data_type: FP32 }"),
        "line 4: value 'FP32' was not found for enum 'inference.DataType'; did you mean TYPE_FP32?"
    );
    assert_eq!(
        fault("max_batch_size: 99999999999"),
        "line 1: expected value to be a signed 32-bit integer, but the value 99999999999 is out of range"
    );
    assert_eq!(fault("name: 'x"), "expected string terminator, but reached end of input");
    assert!(fault("input { name: 'x'").contains("end of input"));
}

#[test]
fn every_unknown_field_is_told_and_the_rest_is_read() {
    let text = "
        max_batchsize: 3, name: 'x'
        inputs [ { name: 'a' }, { name: 'b' } ]
        input { nam: 'x' 'y' dims: 3, formt < a: -1 > }
        dynamic_batchin {
          preferred: [ 1 ]
        }
        max_batch_size: 4
    ";
    let mut faults = Faults::default();
    let table = parse(text, &mut faults);
    let told: Vec<String> = faults.into_vec().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 2: max_batchsize: unknown key; did you mean max_batch_size?",
            "line 3: inputs: unknown key; did you mean input?",
            "line 4: nam: unknown key; did you mean name?",
            "line 4: formt: unknown key; did you mean format?",
            "line 5: dynamic_batchin: unknown key; did you mean dynamic_batching?",
        ]
    );
    let expected: Table = toml::from_str("name = 'x'\nmax_batch_size = 4\ninput = [{ dims = [3] }]").unwrap();
    assert_eq!(table, expected);
}

#[test]
fn a_hostile_text_is_refused() {
    let message = "[a/inference.ModelConfig] { ";
    assert_eq!(fault(&message.repeat(30_000)), "is nested deeper than 32 levels");
    let mut faults = Faults::default();
    parse(&"a: 1 ".repeat(10_000), &mut faults);
    assert!(faults.into_vec().len() <= 101);
}
