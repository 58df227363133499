//! Bad REST requests, and what each is told.

use adulis_protocol::rest;
use adulis_types::{ErrorKind, ModelRef, ServiceError};
use bytes::Bytes;

fn refusal(body: impl Into<Bytes>, header: Option<usize>) -> String {
    let error = rest::decode_infer(ModelRef::latest("m"), body.into(), header).expect_err("a refusal");
    let message = error.client_message().into_owned();
    let rest = message.strip_prefix("model 'm': ").expect("the message names the model");
    match error.kind() {
        ErrorKind::InvalidArgument => rest.to_owned(),
        kind => format!("{}: {rest}", kind.as_str()),
    }
}

fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(body, expected)| {
            let got = refusal(Bytes::copy_from_slice(body.as_bytes()), None);
            (got != *expected).then(|| format!("{body}\n  expected {expected}\n  got      {got}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A request with one input, `fields` after its name.
fn with_input(fields: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"A",{fields}}}]}}"#)
}

fn check_inputs(table: &[(&str, &str)]) {
    let bodies: Vec<(String, String)> = table
        .iter()
        .map(|(fields, expected)| (with_input(fields), format!("input 'A': {expected}")))
        .collect();
    let table: Vec<(&str, &str)> =
        bodies.iter().map(|(body, expected)| (body.as_str(), expected.as_str())).collect();
    check(&table);
}

#[test]
fn documents() {
    check(&[
        ("", "the body is empty: expected a JSON object"),
        (" ", "invalid JSON at byte 1: expected '{', got the end"),
        ("[]", "invalid JSON at byte 0: expected '{', got '['"),
        ("{}", "missing 'inputs'"),
        ("{\"inputs\":[]", "invalid JSON at byte 12: expected ',' or '}', got the end"),
        (r#"{"inputs":[]} x"#, "invalid JSON at byte 14: expected the end, got 'x'"),
        (r#"{"inputs":[],}"#, "invalid JSON at byte 13: expected a key in quotes, got '}'"),
        (r#"{"inputs":[,]}"#, "invalid JSON at byte 11: expected '{', got ','"),
        (r#"{"inputs":[]"id":"1"}"#, "invalid JSON at byte 12: expected ',' or '}', got '\"'"),
        (r#"{"inputs" []}"#, "invalid JSON at byte 10: expected ':', got '['"),
        (r#"{"inputs":null}"#, "invalid JSON at byte 10: expected '[', got 'n'"),
        (r#"{"inputs":[],"inputs":[]}"#, "duplicate key 'inputs'"),
        (r#"{"id":7,"inputs":[]}"#, "invalid JSON at byte 6: expected a string, got '7'"),
        (
            r#"{"id":"\x","inputs":[]}"#,
            "invalid JSON at byte 8: expected an escape of JSON, got 'x'",
        ),
        (
            "{\"id\":\"a\nb\",\"inputs\":[]}",
            "invalid JSON at byte 8: expected no control characters in a string, got byte 0x0a",
        ),
        (r#"{"x":tru,"inputs":[]}"#, "invalid JSON at byte 5: expected a value, got 't'"),
        (r#"{"x":01,"inputs":[]}"#, "invalid JSON at byte 6: expected a digit, got '1'"),
        (r#"{"x":1.,"inputs":[]}"#, "invalid JSON at byte 7: expected a digit, got ','"),
        (r#"{"inputs":[{}]}"#, "input number 0: missing 'name'"),
    ]);
    assert_eq!(
        refusal(&b"{\"id\":\"\xff\",\"inputs\":[]}"[..], None),
        "invalid JSON at byte 7: expected UTF-8 text, got byte 0xff"
    );
    assert_eq!(
        refusal(&b"{\"id\":\"\\n\xc3\",\"inputs\":[]}"[..], None),
        "invalid JSON at byte 9: expected UTF-8 text, got byte 0xc3"
    );
}

#[test]
fn limits() {
    let deep = format!(r#"{{"x":{}}}"#, "[".repeat(100_000));
    assert_eq!(refusal(deep, None), "too many objects and arrays within each other: at most 48 are taken");
    let input = |index: usize| format!(r#"{{"name":"A{index}","shape":[0],"datatype":"INT8","data":[]}}"#);
    let many = |count: usize| (0..count).map(input).collect::<Vec<_>>().join(",");
    assert_eq!(
        refusal(format!(r#"{{"inputs":[{}]}}"#, many(1025)), None),
        "too many inputs: at most 1024 are taken"
    );
    let all = format!(r#"{{"inputs":[{}]}}"#, many(1024));
    assert!(rest::decode_infer(ModelRef::latest("m"), all.into(), None).is_ok());
    let outputs = vec![r#"{"name":"A"}"#; 1025].join(",");
    assert_eq!(
        refusal(format!(r#"{{"inputs":[],"outputs":[{outputs}]}}"#), None),
        "too many outputs: at most 1024 are taken"
    );
    let parameters = (0..65).map(|index| format!(r#""p{index}":1"#)).collect::<Vec<_>>().join(",");
    assert_eq!(
        refusal(format!(r#"{{"parameters":{{{parameters}}},"inputs":[]}}"#), None),
        "too many parameters: at most 64 are taken"
    );
    let shape = ["1"; 33].join(",");
    assert_eq!(
        refusal(with_input(&format!(r#""shape":[{shape}],"datatype":"INT8","data":[1]"#)), None),
        "input 'A': expected at most 32 dimensions, got 33"
    );
}

#[test]
fn tensors() {
    check_inputs(&[
        (r#""shape":[1],"data":[1]"#, "missing 'datatype'"),
        (r#""datatype":"FP32","data":[1]"#, "missing 'shape'"),
        (r#""datatype":"FP32","shape":[1]"#, "expected 'data' or 'binary_data_size', got neither"),
        (
            r#""datatype":"FP8","shape":[1],"data":[1]"#,
            "datatype 'FP8': unknown datatype: expected one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64, BYTES",
        ),
        (
            r#""datatype":"FP32","shape":[2,-1],"data":[1]"#,
            "expected dimensions that are whole numbers of 0 or more, got -1 at index 1 of the shape",
        ),
        (
            r#""datatype":"FP32","shape":[1.5],"data":[1]"#,
            "expected dimensions that are whole numbers of 0 or more, got 1.5 at index 0 of the shape",
        ),
        (
            r#""datatype":"FP32","shape":[99999999999999999999],"data":[1]"#,
            "expected dimensions that are whole numbers of 0 or more, got 99999999999999999999 at index 0 of the shape",
        ),
        (
            r#""datatype":"FP32","shape":[4294967296,4294967296],"data":[1]"#,
            "shape [4294967296,4294967296] has more elements than can be addressed",
        ),
        (
            r#""datatype":"FP32","shape":[9223372036854775807],"data":[1]"#,
            "expected 9223372036854775807 elements for FP32 [9223372036854775807], got 1",
        ),
        (
            r#""datatype":"FP32","shape":[2,2],"data":[1,2,3]"#,
            "expected 4 elements for FP32 [2,2], got 3",
        ),
        (
            r#""datatype":"FP32","shape":[2],"data":[1,2,3]"#,
            "expected 2 elements for FP32 [2], got 3",
        ),
        (
            r#""data":[1,2,3],"datatype":"FP32","shape":[2]"#,
            "expected 2 elements for FP32 [2], got 3",
        ),
        (
            r#""datatype":"FP16","shape":[1],"data":[1]"#,
            "FP16 has no form in JSON: send binary data over the v2 protocol ('binary_data_size')",
        ),
        (
            r#""datatype":"BF16","shape":[1],"data":[1]"#,
            "BF16 has no form in JSON: send binary data over the v2 protocol ('binary_data_size')",
        ),
        (
            r#""datatype":"FP32","shape":[1],"data":[1],"parameters":{"binary_data_size":4}"#,
            "expected either 'data' or 'binary_data_size', got both",
        ),
        (
            r#""datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}"#,
            "expected 4 bytes of binary data ('binary_data_size'), got 0 left in the body",
        ),
    ]);
}

#[test]
fn tensor_lists() {
    check(&[
        (
            r#"{"inputs":[{"name":"A","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":-4}}]}"#,
            "parameter 'binary_data_size': expected a number of bytes, got -4",
        ),
        (
            r#"{"inputs":[{"name":"A","datatype":"INT8","shape":[1],"data":[1]},{"name":"A","datatype":"INT8","shape":[1],"data":[1]}]}"#,
            "input 'A' is given twice",
        ),
        (r#"{"inputs":[],"outputs":[{"name":"O"},{"name":"O"}]}"#, "output 'O' is given twice"),
        (r#"{"inputs":[],"outputs":[{}]}"#, "output number 0: missing 'name'"),
    ]);
}

#[test]
fn nesting() {
    check_inputs(&[
        (
            r#""datatype":"INT8","shape":[2,2],"data":[[1,2],[3]]"#,
            "expected lists of 2 along dimension 1 of [2,2], got one of 1",
        ),
        (
            r#""datatype":"INT8","shape":[2,2],"data":[[1,2]]"#,
            "expected lists of 2 along dimension 0 of [2,2], got one of 1",
        ),
        (
            r#""datatype":"INT8","shape":[2,3],"data":[[1,2],[3,4],[5,6]]"#,
            "expected lists of 3 along dimension 1 of [2,3], got one of 2",
        ),
        (
            r#""datatype":"INT8","shape":[2,2],"data":[[1,2],3,4]"#,
            "expected flat data or lists nested 2 deep for [2,2], got a number at depth 1",
        ),
        (
            r#""datatype":"INT8","shape":[1,1],"data":[[[1]]]"#,
            "expected flat data or lists nested 2 deep for [1,1], got a list at depth 2",
        ),
        (
            r#""datatype":"INT8","shape":[1,1,1],"data":[[1]]"#,
            "expected flat data or lists nested 3 deep for [1,1,1], got a number at depth 2",
        ),
        (
            r#""datatype":"INT8","shape":[2],"data":[1,[2]]"#,
            "expected flat data or lists nested 1 deep for [2], got a list at depth 1",
        ),
        (
            r#""datatype":"INT8","shape":[1],"data":1"#,
            "expected flat data or lists nested 1 deep for [1], got a number at depth 0",
        ),
        (
            r#""datatype":"INT8","shape":[1],"data":null"#,
            "expected flat data or lists nested 1 deep for [1], got null at depth 0",
        ),
    ]);
}

#[test]
fn values() {
    let rows = [
        ("BOOL", "1", "true or false", "1"),
        ("BOOL", "\"true\"", "true or false", "\"true\""),
        ("UINT8", "-1", "a whole number from 0 to 255", "-1"),
        ("UINT8", "256", "a whole number from 0 to 255", "256"),
        ("INT8", "300", "a whole number from -128 to 127", "300"),
        ("INT16", "32768", "a whole number from -32768 to 32767", "32768"),
        ("UINT16", "65536", "a whole number from 0 to 65535", "65536"),
        ("INT32", "1.0", "a whole number from -2147483648 to 2147483647", "1.0"),
        ("INT32", "1e3", "a whole number from -2147483648 to 2147483647", "1e3"),
        ("INT32", "true", "a whole number from -2147483648 to 2147483647", "true"),
        ("UINT32", "4294967296", "a whole number from 0 to 4294967295", "4294967296"),
        (
            "INT64",
            "9223372036854775808",
            "a whole number from -9223372036854775808 to 9223372036854775807",
            "9223372036854775808",
        ),
        (
            "UINT64",
            "18446744073709551616",
            "a whole number from 0 to 18446744073709551615",
            "18446744073709551616",
        ),
        ("UINT64", "-1", "a whole number from 0 to 18446744073709551615", "-1"),
        ("FP32", "1e39", "a number up to 3.4e38, NaN, Infinity or -Infinity", "1e39"),
        ("FP32", "nan", "a number up to 3.4e38, NaN, Infinity or -Infinity", "nan"),
        ("FP32", "\"-NaN\"", "a number up to 3.4e38, NaN, Infinity or -Infinity", "\"-NaN\""),
        ("FP32", "Inf", "a number up to 3.4e38, NaN, Infinity or -Infinity", "Inf"),
        ("INT32", "NaN", "a whole number from -2147483648 to 2147483647", "NaN"),
        ("FP32", "null", "a number up to 3.4e38, NaN, Infinity or -Infinity", "null"),
        ("FP64", "1e309", "a number up to 1.8e308, NaN, Infinity or -Infinity", "1e309"),
        ("FP64", "\"1\"", "a number up to 1.8e308, NaN, Infinity or -Infinity", "\"1\""),
        ("BYTES", "1", "a string of less than 4 GiB", "1"),
    ];
    for (datatype, value, expected, got) in rows {
        let good = match datatype {
            "BOOL" => "true",
            "BYTES" => "\"\"",
            _ => "0",
        };
        for data in [format!("[{good},{value}]"), format!("[[{good}],[{value}]]")] {
            let body = with_input(&format!(r#""shape":[2,1],"datatype":"{datatype}","data":{data}"#));
            assert_eq!(
                refusal(body, None),
                format!("input 'A': expected {expected} for {datatype} at element 1, got {got}")
            );
        }
    }
}

#[test]
fn sequences() {
    let id =
        "parameter 'sequence_id': expected a whole number of 0 or more, or text of at most 128 bytes, got";
    let long = "x".repeat(129);
    for (parameters, message) in [
        (r#""sequence_id":-1"#, format!("{id} -1")),
        (r#""sequence_id":1.5"#, format!("{id} 1.5")),
        (r#""sequence_id":true"#, format!("{id} true")),
        (&format!(r#""sequence_id":"{long}""#), format!("{id} '{}…'", "x".repeat(40))),
        (
            r#""sequence_id":1,"sequence_end":1"#,
            "parameter 'sequence_end': expected true or false, got 1".to_owned(),
        ),
    ] {
        let body = format!(r#"{{"parameters":{{{parameters}}},"inputs":[]}}"#);
        assert_eq!(refusal(body, None), message);
    }
}

#[test]
fn parameters() {
    for (parameter, message) in [
        (
            r#""triton_x":1"#,
            "parameter 'triton_x': parameter keys starting with 'triton_' are reserved",
        ),
        (
            r#""triton_enable_empty_final_response":1"#,
            "parameter 'triton_enable_empty_final_response': expected true or false, got 1",
        ),
    ] {
        let body = format!(r#"{{"parameters":{{{parameter}}},"inputs":[]}}"#);
        assert!(refusal(body, None).contains(message), "{parameter}");
    }
    check(&[
        (
            r#"{"parameters":{"timeout":-1},"inputs":[]}"#,
            "parameter 'timeout': expected a whole number of 0 or more, got -1",
        ),
        (
            r#"{"parameters":{"timeout":1.5},"inputs":[]}"#,
            "parameter 'timeout': expected a whole number of 0 or more, got 1.5",
        ),
        (
            r#"{"parameters":{"priority":true},"inputs":[]}"#,
            "parameter 'priority': expected a whole number of 0 or more, got true",
        ),
        (
            r#"{"parameters":{"binary_data_output":"yes"},"inputs":[]}"#,
            "parameter 'binary_data_output': expected true or false, got 'yes'",
        ),
        (
            r#"{"inputs":[],"outputs":[{"name":"O","parameters":{"binary_data":1}}]}"#,
            "parameter 'binary_data': expected true or false, got 1",
        ),
        (
            r#"{"parameters":{"x":null},"inputs":[]}"#,
            "parameter 'x': expected a string, a number, true or false, got null",
        ),
        (
            r#"{"parameters":{"x":[1]},"inputs":[]}"#,
            "parameter 'x': expected a string, a number, true or false, got [1",
        ),
        (
            r#"{"parameters":{"x":1e999},"inputs":[]}"#,
            "parameter 'x': expected a number within FP64's range, got 1e999",
        ),
        (r#"{"parameters":{"x":1,"x":2},"inputs":[]}"#, "duplicate key 'x'"),
    ]);
}

#[test]
fn binary_data() {
    let json = |size: usize, datatype: &str, shape: &str| {
        with_input(&format!(
            r#""shape":{shape},"datatype":"{datatype}","parameters":{{"binary_data_size":{size}}}"#
        ))
    };
    let refused = |size, datatype, shape, data: &[u8]| {
        let json = json(size, datatype, shape);
        let header = Some(json.len());
        refusal([json.as_bytes(), data].concat(), header)
    };
    assert_eq!(
        refused(8, "FP32", "[1,2]", &[0; 7]),
        "input 'A': expected 8 bytes of binary data ('binary_data_size'), got 7 left in the body"
    );
    assert_eq!(
        refused(8, "FP32", "[1,2]", &[0; 9]),
        "1 bytes are left over in the body after the last binary tensor"
    );
    assert_eq!(refused(4, "FP32", "[1,2]", &[0; 4]), "input 'A': expected 8 bytes for FP32 [1,2], got 4");
    assert_eq!(
        refused(2, "BOOL", "[2]", &[1, 2]),
        "input 'A': expected bytes of 0 or 1 for BOOL, got 2 at element 1"
    );
    assert_eq!(
        refused(5, "BYTES", "[1]", &[9, 0, 0, 0, b'x']),
        "input 'A': BYTES element 0 of 1 is cut short: its length prefix or its bytes reach past the end"
    );
    assert_eq!(
        refused(6, "BYTES", "[1]", &[1, 0, 0, 0, b'x', b'y']),
        "input 'A': 1 bytes are left over after 1 BYTES elements"
    );
    assert_eq!(
        refused(usize::MAX, "FP32", "[1]", &[0; 4]),
        format!(
            "input 'A': expected {} bytes of binary data ('binary_data_size'), got 4 left in the body",
            usize::MAX
        )
    );
    assert_eq!(
        refusal("{}", Some(3)),
        "the inference header is said to be 3 bytes long, but the body has 2"
    );
    assert_eq!(refusal("", Some(0)), "the body is empty: expected a JSON object");
}

/// A request of a few bytes may not make the decoder take more than a few bytes, whatever shape it claims.
#[test]
fn claimed_shapes_take_no_memory() {
    let claim = r#""shape":[1099511627776],"datatype":"FP64","data":[1]"#;
    check_inputs(&[(claim, "expected 1099511627776 elements for FP64 [1099511627776], got 1")]);
}
