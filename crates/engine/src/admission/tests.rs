use adulis_tensor::{DataType, Shape, ShapePattern, Tensor};
use adulis_types::{ErrorKind, ServiceError};
use bytes::Bytes;

use super::*;

fn spec(name: &str, shape: &[i64], optional: bool) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        datatype: DataType::Uint8,
        shape: ShapePattern::new(shape),
        optional,
    }
}

fn interface(max_rows: Option<usize>) -> Interface {
    Interface {
        model: "m".into(),
        inputs: vec![
            spec("A", &[-1, 2], false),
            spec("B", &[-1, -1], false),
            spec("C", &[-1], true),
        ],
        outputs: vec![spec("X", &[-1, 2], false), spec("Y", &[-1], false)],
        labels: Vec::new(),
        reshapes: Reshapes::default(),
        max_rows,
    }
}

fn input(name: &str, shape: &[usize]) -> InputTensor {
    let length = shape.iter().product();
    let tensor = Tensor::new(DataType::Uint8, Shape::new(shape), Bytes::from(vec![0; length])).unwrap();
    InputTensor { name: name.into(), tensor }
}

fn output(name: &str) -> RequestedOutput {
    RequestedOutput::new(name)
}

fn refusal(inputs: Vec<InputTensor>) -> String {
    interface(Some(4)).admit(inputs, &[]).unwrap_err().to_string()
}

#[test]
fn inputs_are_put_in_the_signatures_order() {
    let admitted = interface(Some(4)).admit(vec![input("B", &[3, 7]), input("A", &[3, 2])], &[]).unwrap();
    assert_eq!(admitted.inputs.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((admitted.rows, admitted.outputs), (3, Selection::All));
}

#[test]
fn what_does_not_fit_is_named() {
    let (a, b) = (input("A", &[1, 2]), input("B", &[1, 1]));
    assert_eq!(refusal(vec![a.clone()]), "model 'm': input 'B' (UINT8 [-1,-1]) is missing");
    assert_eq!(
        refusal(vec![a.clone(), input("D", &[1])]),
        "model 'm': unexpected input 'D'; the model's inputs are 'A', 'B', 'C'"
    );
    assert_eq!(refusal(vec![a.clone(), a.clone()]), "model 'm': input 'A' is given more than once");
    assert_eq!(
        refusal(vec![input("A", &[1, 3])]),
        "model 'm': input 'A' has shape [1,3], expected [-1,2]"
    );
    assert_eq!(refusal(vec![input("A", &[2])]), "model 'm': input 'A' has shape [2], expected [-1,2]");
    assert_eq!(refusal(vec![a, input("B", &[2, 1])]), "model 'm': input 'B' has 2 rows where 'A' has 1");
    assert_eq!(
        refusal(vec![input("A", &[0, 2]), input("B", &[0, 1])]),
        "model 'm': input 'A' has shape [0,2]: at least one row is needed"
    );
    assert_eq!(
        refusal(vec![input("A", &[5, 2]), input("B", &[5, 1])]),
        "model 'm': 5 rows in one request, at most 4 are allowed (max_batch_size)"
    );
    let wide = Tensor::new(DataType::Uint16, Shape::from([1, 2]), Bytes::from_static(&[0; 4])).unwrap();
    let wide = InputTensor { name: "A".into(), tensor: wide };
    assert_eq!(refusal(vec![wide, b]), "model 'm': input 'A' has datatype UINT16, expected UINT8");
}

#[test]
fn rows_do_not_matter_without_a_batch_dimension() {
    let admitted = interface(None).admit(vec![input("A", &[5, 2]), input("B", &[0, 1])], &[]).unwrap();
    assert_eq!(admitted.rows, 1);
}

#[test]
fn outputs_are_selected_by_name_once() {
    let interface = interface(None);
    let selected = |index, classes| Selection::These(SmallVec::from_slice(&[Selected { index, classes }]));
    assert_eq!(interface.select(&[output("Y")]).unwrap(), selected(1, 0));
    let classes = RequestedOutput { classification: 3, ..output("Y") };
    assert_eq!(interface.select(&[classes]).unwrap(), selected(1, 3));
    let unknown = interface.select(&[output("Z")]).unwrap_err().to_string();
    assert_eq!(unknown, "model 'm': unexpected output 'Z' requested; the model's outputs are 'X', 'Y'");
    let twice = interface.select(&[output("X"), output("X")]).unwrap_err().to_string();
    assert_eq!(twice, "model 'm': output 'X' is requested more than once");
}

#[test]
fn text_has_no_classes() {
    let mut interface = interface(None);
    interface.outputs[1].datatype = DataType::Bytes;
    let wanted = RequestedOutput { classification: 1, ..output("Y") };
    let error = interface.select(&[wanted]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let expected =
        "model 'm': output 'Y' has no classes: its datatype is BYTES, and classification is of numbers";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn classes_tell_shapes_and_sets_of_inputs_apart() {
    let class =
        |inputs: Vec<InputTensor>| shape_class(&interface(Some(4)).admit(inputs, &[]).unwrap().inputs);
    let base = class(vec![input("A", &[1, 2]), input("B", &[1, 3])]);
    assert_eq!(base, class(vec![input("B", &[4, 3]), input("A", &[4, 2])]));
    assert_ne!(base, class(vec![input("A", &[1, 2]), input("B", &[1, 4])]));
    assert_ne!(base, class(vec![input("A", &[1, 2]), input("B", &[1, 3]), input("C", &[1])]));
}

#[test]
fn rows_are_told_apart_by_the_elements_of_all_inputs() {
    let bucket = |inputs: Vec<InputTensor>, has_rows: bool| {
        let admitted = interface(has_rows.then_some(4)).admit(inputs, &[]).unwrap();
        shape_bucket(&admitted.inputs, has_rows)
    };
    let of = |rows: usize, length: usize| vec![input("A", &[rows, 2]), input("B", &[rows, length])];
    for rows in [1, 4] {
        assert_eq!(bucket(of(rows, 6), true), ShapeBucket::of(8));
        assert_eq!(bucket(of(rows, 100), true), ShapeBucket::of(102));
    }
    // Where there are no rows it is the whole.
    assert_eq!(bucket(of(4, 6), false), ShapeBucket::of(32));
    // A tensor of nothing may have any extents.
    let empty = Tensor::new(DataType::Uint8, Shape::new(&[0, usize::MAX, 3]), Bytes::new()).unwrap();
    assert_eq!(shape_bucket(&vec![(0, empty.clone())], false), ShapeBucket::of(0));
    assert_eq!(shape_bucket(&vec![(0, empty)], true), ShapeBucket::of(usize::MAX));
    assert!(interface(Some(4)).varies() && interface(None).varies());
    let fixed = Interface { inputs: vec![spec("A", &[-1, 2], false)], ..interface(Some(4)) };
    assert!(!fixed.varies(), "the batch dimension aside");
    assert!(Interface { max_rows: None, ..fixed }.varies());
}
