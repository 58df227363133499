use std::io::Write;

use super::*;

fn plan(inputs: &[&str]) -> DataPlan {
    DataPlan {
        model: ModelRef::latest("m"),
        inputs: inputs.iter().map(|input| input.parse().unwrap()).collect(),
        shapes: Vec::new(),
        sources: Vec::new(),
        batch: 1,
        seed: 1,
        string_length: 8,
        distinct: Distinct::Exactly(1),
        all_differ: false,
    }
}

fn shapes(plan: &DataPlan) -> Vec<Vec<usize>> {
    let requests = plan.requests().unwrap();
    let inputs = requests[0].inputs.iter();
    inputs.map(|input| input.tensor.shape().to_vec()).collect()
}

fn error(plan: &DataPlan) -> String {
    format!("{:#}", plan.requests().unwrap_err())
}

#[test]
fn rows_and_overrides_decide_the_shape() {
    let mut plan = plan(&["A:FP32:-1,16", "B:INT8:-1,-1,4", "C:FP64:", "D:BYTES:2"]);
    plan.batch = 3;
    assert!(error(&plan).contains("--shape B:N,4"), "{}", error(&plan));
    plan.shapes = vec!["B:5,4".parse().unwrap()];
    assert_eq!(shapes(&plan), [vec![3, 16], vec![3, 5, 4], vec![], vec![2]]);
    plan.shapes = vec!["B:7,5,4".parse().unwrap()];
    assert_eq!(shapes(&plan)[1], [7, 5, 4]);
    for wrong in ["B:5,5", "B:4", "X:1"] {
        plan.shapes = vec![wrong.parse().unwrap()];
        assert!(plan.requests().is_err(), "{wrong}");
    }
}

#[test]
fn every_datatype_is_generated_by_seed() {
    for datatype in adulis_tensor::DataType::ALL {
        let mut plan = plan(&[&format!("A:{datatype}:-1,64")]);
        plan.distinct = Distinct::Exactly(2);
        let first = plan.requests().unwrap();
        let data = |requests: &[InferRequest], index: usize| requests[index].inputs[0].tensor.data().clone();
        assert_eq!(data(&first, 0), data(&plan.requests().unwrap(), 0), "{datatype}");
        assert_ne!(data(&first, 0), data(&first, 1), "{datatype}");
        plan.sources = vec![DataSource::Zeros];
        assert!(data(&plan.requests().unwrap(), 0).iter().all(|&byte| byte == 0), "{datatype}");
    }
    let strings = plan(&["A:BYTES:2"]).requests().unwrap();
    let lengths: Vec<_> = strings[0].inputs[0].tensor.bytes_elements().map(<[u8]>::len).collect();
    assert_eq!(lengths, [8, 8]);
}

fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

#[test]
fn rows_of_a_json_file_are_taken_in_turn() {
    let json = br#"{"data": [
        {"A": [1, 2], "S": ["x"]},
        [{"A": {"content": [[3], [4]], "shape": [2, 1]}, "S": ["yy"]}, {"A": {"b64": "BQAGAA=="}, "S": [""]}]
    ], "validation_data": []}"#;
    let file = file(json);
    let mut plan = plan(&["A:INT16:-1,2", "S:BYTES:-1,1"]);
    plan.sources = vec![DataSource::Json(file.path().to_owned())];
    plan.batch = 2;
    let requests = plan.requests().unwrap();
    let values: Vec<Vec<i16>> = requests
        .iter()
        .map(|request| {
            let data = request.inputs[0].tensor.data();
            data.as_chunks().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
        })
        .collect();
    assert_eq!(values, [[1, 2, 3, 4], [5, 6, 1, 2]]);
    let second: Vec<_> = requests[1].inputs[1].tensor.bytes_elements().collect();
    assert_eq!(second, [&b""[..], b"x"]);
}

#[test]
fn a_json_file_that_does_not_fit_names_row_and_input() {
    let file = file(br#"{"data": [{"A": [1, 2, 3]}]}"#);
    let mut plan = plan(&["A:INT16:-1,2"]);
    plan.sources = vec![DataSource::Json(file.path().to_owned())];
    let error = error(&plan);
    assert!(error.contains("row 0, input `A`: expected 2 values, got 3"), "{error}");
}

#[test]
fn raw_bytes_are_a_tensor_or_a_row() {
    let file = file(&[1, 0, 2, 0]);
    let mut plan = plan(&["A:INT16:-1,2"]);
    plan.sources = vec![format!("A={}", file.path().display()).parse().unwrap()];
    plan.batch = 2;
    let requests = plan.requests().unwrap();
    assert_eq!(&requests[0].inputs[0].tensor.data()[..], &[1, 0, 2, 0, 1, 0, 2, 0]);
    plan.shapes = vec!["A:3".parse().unwrap()];
    assert!(plan.requests().is_err());
    plan.shapes.clear();
    plan.sources = vec!["B=/nowhere".parse().unwrap()];
    assert!(error(&plan).contains("`B`"));
}

fn distinct_data(requests: &[InferRequest]) -> usize {
    let data: std::collections::BTreeSet<&[u8]> =
        requests.iter().map(|request| &request.inputs[0].tensor.data()[..]).collect();
    data.len()
}

#[test]
fn requests_that_are_to_differ_do() {
    let mut plan = plan(&["A:UINT8:1"]);
    plan.all_differ = true;
    plan.distinct = Distinct::Exactly(200);
    assert_eq!(distinct_data(&plan.requests().unwrap()), 200, "of 256 values");
    plan.distinct = Distinct::Exactly(257);
    assert!(error(&plan).contains("of 257 requests differ"), "{}", error(&plan));
    plan.distinct = Distinct::AsManyAs { requests: 1000, bytes: 1000 };
    let made = plan.requests().unwrap().len();
    assert!((200..=256).contains(&made), "{made}: about as many as there are");
    plan.sources = vec![DataSource::Zeros];
    assert!(error(&plan).contains("1 of 1000 requests differ"), "{}", error(&plan));
}

#[test]
fn as_many_requests_as_memory_allows() {
    let mut plan = plan(&["A:UINT8:100", "B:UINT8:150"]);
    for (bytes, count) in [(0, 1), (499, 1), (500, 2), (10_000, 40), (usize::MAX, 50)] {
        plan.distinct = Distinct::AsManyAs { requests: 50, bytes };
        assert_eq!(plan.requests().unwrap().len(), count, "{bytes}");
    }
}
