use super::*;

fn tensor(datatype: DataType, shape: &[usize], data: Vec<u8>) -> Tensor {
    Tensor::new(datatype, Shape::new(shape), data.into()).unwrap()
}

fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    tensor(DataType::Fp32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn told(tensor: &Tensor) -> Vec<String> {
    assert_eq!(tensor.datatype(), DataType::Bytes);
    tensor
        .bytes_elements()
        .map(|element| String::from_utf8(element.to_vec()).unwrap())
        .collect()
}

#[test]
fn the_highest_of_each_row_come_first() {
    let output = floats(&[2, 4], &[1.0, 5.0, 10.0, 4.0, -1.0, -0.5, -2.0, 0.25]);
    let top = classify(&output, true, 2, None).unwrap();
    assert_eq!(top.shape(), &Shape::from([2, 2]));
    assert_eq!(told(&top), ["10.000000:2", "5.000000:1", "0.250000:3", "-0.500000:1"]);
    let flat = classify(&output, false, 3, None).unwrap();
    assert_eq!(flat.shape(), &Shape::from([3]));
    assert_eq!(told(&flat), ["10.000000:2", "5.000000:1", "4.000000:3"]);
}

#[test]
fn all_are_told_where_there_are_not_as_many() {
    let output = floats(&[1, 3], &[2.0, 3.0, 1.0]);
    let top = classify(&output, true, usize::MAX, None).unwrap();
    assert_eq!(
        (top.shape(), told(&top)),
        (&Shape::from([1, 3]), told(&classify(&output, true, 3, None).unwrap()))
    );
    let nothing = classify(&floats(&[2, 0], &[]), true, 5, None).unwrap();
    assert_eq!((nothing.shape(), told(&nothing).len()), (&Shape::from([2, 0]), 0));
    let no_rows = classify(&floats(&[0, 3], &[]), true, 5, None).unwrap();
    assert_eq!((no_rows.shape(), told(&no_rows).len()), (&Shape::from([0, 0]), 0));
    let scalar = classify(&floats(&[], &[7.5]), false, 5, None).unwrap();
    assert_eq!((scalar.shape(), told(&scalar)), (&Shape::from([1]), vec!["7.500000:0".to_owned()]));
}

#[test]
fn nan_is_below_everything_and_ties_go_by_index() {
    let values = [
        f32::NAN,
        0.0,
        f32::NEG_INFINITY,
        -0.0,
        f32::INFINITY,
        f32::NAN,
        1e-9,
    ];
    let top = classify(&floats(&[7], &values), false, 7, None).unwrap();
    let expected = [
        "inf:4",
        "0.000000:6",
        "0.000000:1",
        "-0.000000:3",
        "-inf:2",
        "nan:0",
        "nan:5",
    ];
    assert_eq!(told(&top), expected);
}

#[test]
fn the_choice_is_that_of_a_full_sort() {
    let mut state = 1_u32;
    let mut values: Vec<f32> = Vec::new();
    for _ in 0..997 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        values.push(f32::from_bits(state));
    }
    let output = floats(&[997], &values);
    let all = told(&classify(&output, false, 997, None).unwrap());
    for classes in [1, 2, 5, 500, 996] {
        assert_eq!(told(&classify(&output, false, classes, None).unwrap()), all[..classes]);
    }
}

#[test]
fn every_number_has_classes() {
    let cases: [(DataType, Vec<u8>, [&str; 2]); 13] = [
        (DataType::Bool, vec![0, 1], ["1:1", "0:0"]),
        (DataType::Uint8, vec![3, 200], ["200:1", "3:0"]),
        (DataType::Uint16, [3_u16, 60_000].map(u16::to_le_bytes).concat(), ["60000:1", "3:0"]),
        (DataType::Uint32, [3, u32::MAX].map(u32::to_le_bytes).concat(), ["4294967295:1", "3:0"]),
        (
            DataType::Uint64,
            [u64::MAX - 1, u64::MAX].map(u64::to_le_bytes).concat(),
            ["18446744073709551615:1", "18446744073709551614:0"],
        ),
        (DataType::Int8, vec![0x80, 0xff], ["-1:1", "-128:0"]),
        (DataType::Int16, [-3_i16, 2].map(i16::to_le_bytes).concat(), ["2:1", "-3:0"]),
        (DataType::Int32, [-3_i32, 2].map(i32::to_le_bytes).concat(), ["2:1", "-3:0"]),
        (
            DataType::Int64,
            [i64::MIN, i64::MAX].map(i64::to_le_bytes).concat(),
            ["9223372036854775807:1", "-9223372036854775808:0"],
        ),
        (
            DataType::Fp16,
            [-1.5, 0.1].map(|value| f16::from_f32(value).to_le_bytes()).concat(),
            ["0.099976:1", "-1.500000:0"],
        ),
        (
            DataType::Bf16,
            [-1.5, 0.1].map(|value| bf16::from_f32(value).to_le_bytes()).concat(),
            ["0.100098:1", "-1.500000:0"],
        ),
        (
            DataType::Fp32,
            [-1.5_f32, 0.1].map(f32::to_le_bytes).concat(),
            ["0.100000:1", "-1.500000:0"],
        ),
        (DataType::Fp64, [-1.5, 0.1].map(f64::to_le_bytes).concat(), ["0.100000:1", "-1.500000:0"]),
    ];
    for (datatype, data, expected) in cases {
        let top = classify(&tensor(datatype, &[1, 2], data), true, 2, None).unwrap();
        assert_eq!(told(&top), expected, "{datatype}");
    }
    assert!(classify(&tensor(DataType::Bytes, &[1], vec![0; 4]), false, 1, None).is_none());
}
