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
    assert!(parse(text, &mut faults).is_empty());
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
        "line 2: field 'max_batchsize' not found for message 'inference.ModelConfig'; did you mean max_batch_size?"
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
