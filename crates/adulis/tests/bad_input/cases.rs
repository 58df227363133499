//! The table of requests with something wrong about their tensors.

use crate::{Case, Input};

/// A request to `pair` with nothing wrong about it.
pub(crate) fn good() -> Case {
    bad("good", vec![a(), b()], &[])
}

/// The first input of `pair`.
fn a() -> Input {
    numbers("INPUT0", &[1, 4], &[1.0, 2.0, 3.0, 4.0])
}

/// The second input of `pair`.
fn b() -> Input {
    Input {
        name: "INPUT1",
        datatype: "INT8",
        shape: vec![1, 2],
        json: Some("[1,2]".to_owned()),
        raw: Some(vec![1, 2]),
    }
}

fn numbers(name: &'static str, shape: &[i64], values: &[f32]) -> Input {
    Input {
        name,
        datatype: "FP32",
        shape: shape.to_vec(),
        json: Some(format!("{values:?}")),
        raw: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
    }
}

/// The first input of `pair` with other data, which is JSON alone.
fn json(data: &str) -> Input {
    Input { json: Some(data.to_owned()), raw: None, ..a() }
}

/// An input that is bytes alone.
fn raw(datatype: &'static str, shape: &[i64], bytes: &[u8]) -> Input {
    Input {
        name: "INPUT0",
        datatype,
        shape: shape.to_vec(),
        json: None,
        raw: Some(bytes.to_vec()),
    }
}

/// A bad request to `pair`: 400, and the message names the model.
fn bad(name: &'static str, inputs: Vec<Input>, says: &[&str]) -> Case {
    to("pair", name, inputs, says)
}

/// The same to another model.
fn to(model: &'static str, name: &'static str, inputs: Vec<Input>, says: &[&str]) -> Case {
    let mut says: Vec<String> = says.iter().map(|&text| text.to_owned()).collect();
    says.push(format!("'{model}'"));
    Case { name, model, version: "", inputs, outputs: &[], status: 400, says }
}

pub(crate) fn all() -> Vec<Case> {
    let tables = [
        models_and_outputs(),
        which_inputs(),
        shapes(),
        counts(),
        json_data(),
        ranges(),
        bytes(),
    ];
    tables.into_iter().flatten().collect()
}

fn models_and_outputs() -> Vec<Case> {
    let good = || vec![a(), b()];
    let output = |outputs, says: &[&str]| Case { outputs, ..bad("outputs", good(), says) };
    vec![
        Case { status: 404, ..to("nobody", "unknown model", good(), &["unknown model"]) },
        Case {
            status: 404,
            version: "9",
            ..bad("unknown version", good(), &["version 9", "there: 1"])
        },
        Case { version: "new", ..bad("version in words", good(), &["version", "'new'"]) },
        Case { version: "0", ..bad("version 0", good(), &["version", "'0'"]) },
        output(&["OUTPUT7"], &["'OUTPUT7'", "'OUTPUT0', 'OUTPUT1'"]),
        output(&["OUTPUT0", "OUTPUT0"], &["'OUTPUT0'", "twice"]),
    ]
}

fn which_inputs() -> Vec<Case> {
    let named = |name| Input { name, ..a() };
    vec![
        bad("unknown input", vec![named("INPUT7"), b()], &["'INPUT7'", "'INPUT0', 'INPUT1'"]),
        bad("missing input", vec![a()], &["'INPUT1'", "missing", "INT8 [-1,2]"]),
        bad("no inputs", vec![], &["'INPUT0'", "missing", "FP32 [-1,4]"]),
        bad("duplicate input", vec![a(), b(), a()], &["'INPUT0'", "twice"]),
        bad("extra input", vec![a(), b(), named("INPUT2")], &["'INPUT2'", "'INPUT0', 'INPUT1'"]),
        bad("nameless input", vec![named(""), b()], &["input"]),
    ]
}

fn shapes() -> Vec<Case> {
    let shaped = |shape: &[i64]| Input { shape: shape.to_vec(), ..a() };
    let typed = |datatype| Input { datatype, ..a() };
    let integers = Input { json: Some("[1,2,3,4]".to_owned()), ..typed("INT32") };
    let zero = [
        numbers("INPUT0", &[0, 4], &[]),
        Input { shape: vec![0, 2], raw: Some(vec![]), ..b() },
    ];
    let zero = zero.map(|input| Input { json: Some("[]".to_owned()), ..input });
    let two_rows = Input { shape: vec![2, 1], ..b() };
    let many = [
        numbers("INPUT0", &[5, 4], &[0.0; 20]),
        numbers("INPUT1", &[5, 2], &[0.0; 10]),
    ];
    let [many, many_bytes] = many;
    let many_bytes = Input {
        datatype: "INT8",
        raw: Some(vec![0; 10]),
        json: Some("[0,0,0,0,0,0,0,0,0,0]".into()),
        ..many_bytes
    };
    let rows = [numbers("INPUT0", &[2, 4], &[0.0; 8]), b()];
    let on = |name, input, says: &[&str]| bad(name, vec![input, b()], &[&["'INPUT0'"], says].concat());
    vec![
        on("wrong datatype", integers, &["INT32", "expected FP32"]),
        on("unknown datatype", typed("FP8"), &["'FP8'", "expected one of BOOL"]),
        on("no datatype", typed(""), &["datatype ''"]),
        on("rank too low", shaped(&[4]), &["shape [4]", "expected [-1,4]"]),
        on("rank too high", shaped(&[1, 1, 4]), &["shape [1,1,4]", "expected [-1,4]"]),
        on("no dimensions", numbers("INPUT0", &[], &[1.0]), &["shape []", "expected [-1,4]"]),
        on(
            "wrong dimension",
            numbers("INPUT0", &[1, 5], &[0.0; 5]),
            &["shape [1,5]", "expected [-1,4]"],
        ),
        on("negative dimension", shaped(&[-1, 4]), &["0 or more", "got -1 at index 0"]),
        on("least dimension", shaped(&[1, i64::MIN]), &["got -9223372036854775808 at index 1"]),
        on(
            "product overflows",
            shaped(&[1 << 32, 1 << 32]),
            &["[4294967296,4294967296]", "more elements than can be"],
        ),
        on("bytes overflow", shaped(&[i64::MAX]), &["[9223372036854775807]"]),
        on("zero hides an overflow", shaped(&[i64::MAX, i64::MAX, 0]), &["'INPUT0'"]),
        on("too many dimensions", shaped(&[1; 33]), &["at most 32 dimensions", "got 33"]),
        bad("no rows", zero.to_vec(), &["'INPUT0'", "[0,4]", "at least one row"]),
        bad("too many rows", vec![many, many_bytes], &["5 rows", "at most 4"]),
        bad("rows disagree", rows.to_vec(), &["'INPUT1'", "1 rows", "'INPUT0' has 2"]),
        bad(
            "second input's shape",
            vec![a(), two_rows],
            &["'INPUT1'", "shape [2,1]", "expected [-1,2]"],
        ),
    ]
}

fn counts() -> Vec<Case> {
    let on = |name, input, says: &[&str]| {
        bad(name, vec![input, b()], &[&["'INPUT0'", "FP32 [1,4]"], says].concat())
    };
    vec![
        on("too few elements", numbers("INPUT0", &[1, 4], &[1.0, 2.0, 3.0]), &["expected", "got"]),
        on("too many elements", numbers("INPUT0", &[1, 4], &[0.0; 5]), &["expected", "got"]),
        on(
            "no elements",
            Input { json: Some("[]".into()), raw: Some(vec![]), ..a() },
            &["expected", "got 0"],
        ),
        on("half an element", raw("FP32", &[1, 4], &[0; 14]), &["expected 16 bytes", "got 14"]),
        on("three elements", json("[1,2,3]"), &["expected 4 elements", "got 3"]),
    ]
}

fn json_data() -> Vec<Case> {
    let on = |name, data: &str, says: &[&str]| bad(name, vec![json(data), b()], says);
    let input = "'INPUT0'";
    vec![
        on("ragged", "[[1,2],[3,4]]", &[input, "[1,4]", "expected lists of"]),
        on("ragged inside", "[[1,2,3]]", &[input, "[1,4]", "expected lists of 4", "one of 3"]),
        on("nested too deeply", "[[[1,2,3,4]]]", &[input, "nested 2 deep"]),
        on("nested unevenly", "[1,[2,3,4]]", &[input, "expected"]),
        on("nan", "[1,2,nan,4]", &[input, "FP32", "at element 2", "got nan"]),
        on("inf", "[1,2,3,inf]", &[input, "FP32", "at element 3", "got inf"]),
        on("minus inf", "[1,2,3,-inf]", &[input, "FP32", "at element 3", "got -inf"]),
        on("text for a number", r#"[1,2,"3",4]"#, &[input, "FP32", "at element 2"]),
        on("null for a number", "[1,2,null,4]", &[input, "FP32", "at element 2", "null"]),
        on("true for a number", "[true,2,3,4]", &[input, "FP32", "at element 0", "true"]),
        on("object for a number", "[{},2,3,4]", &[input, "expected"]),
        on("no list", "7", &[input, "[1,4]", "got a number"]),
        on("too large for FP32", "[1,2,3,1e39]", &[input, "FP32", "at element 3", "1e39"]),
        on("too large for any float", "[1,2,3,-1e999]", &[input, "FP32", "at element 3", "-1e999"]),
    ]
}

/// Numbers beside the ends of every datatype's range, and numbers with fractions where there are none.
fn ranges() -> Vec<Case> {
    let ends = [
        ("bool", "BOOL", "2", "-1"),
        ("uint8", "UINT8", "256", "-1"),
        ("uint16", "UINT16", "65536", "-1"),
        ("uint32", "UINT32", "4294967296", "-1"),
        ("uint64", "UINT64", "18446744073709551616", "-1"),
        ("int8", "INT8", "128", "-129"),
        ("int16", "INT16", "32768", "-32769"),
        ("int32", "INT32", "2147483648", "-2147483649"),
        ("int64", "INT64", "9223372036854775808", "-9223372036854775809"),
        ("fp64", "FP64", "1e309", "-1e309"),
    ];
    let one = |model, datatype, data: &str| {
        let input = Input { datatype, shape: vec![1], ..json(&format!("[{data}]")) };
        to(model, "out of range", vec![input], &["'INPUT0'", datatype, "at element 0", data])
    };
    let whole = ends.iter().filter(|(model, ..)| *model != "fp64");
    let fractions = whole.map(|(model, datatype, ..)| one(model, datatype, "1.5"));
    let beside = ends
        .iter()
        .flat_map(|(model, datatype, over, under)| [one(model, datatype, over), one(model, datatype, under)]);
    let half = [("fp16", "FP16"), ("bf16", "BF16")].map(|(model, datatype)| {
        let input = Input { datatype, shape: vec![1], ..json("[1.0]") };
        to(model, "half floats in JSON", vec![input], &["'INPUT0'", datatype, "binary_data_size"])
    });
    fractions.chain(beside).chain(half).collect()
}

fn bytes() -> Vec<Case> {
    let on = |name, bytes: &[u8], says: &[&str]| {
        to("text", name, vec![raw("BYTES", &[2], bytes)], &[&["'INPUT0'"], says].concat())
    };
    let words = Input { datatype: "BYTES", shape: vec![2], ..json("[\"a\",7]") };
    vec![
        on("prefix cut short", &[1, 0, 0, 0, b'a', 1, 0, 0], &["element 1 of 2", "cut short"]),
        on("prefix past the end", &[9, 0, 0, 0, b'a'], &["element 0 of 2", "cut short"]),
        on("greatest prefix", &[255; 12], &["element 0 of 2", "cut short"]),
        on("one element of two", &[1, 0, 0, 0, b'a'], &["element 1 of 2"]),
        on(
            "bytes left over",
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 2],
            &["2 bytes are left over", "2 BYTES elements"],
        ),
        on("no bytes", &[], &["element 0 of 2"]),
        to("text", "number for text", vec![words], &["'INPUT0'", "BYTES", "at element 1", "7"]),
        to(
            "bool",
            "BOOL of 2",
            vec![raw("BOOL", &[1], &[2])],
            &["'INPUT0'", "0 or 1", "got 2 at element 0"],
        ),
    ]
}
