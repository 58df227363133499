use super::*;

fn bytes(kind: ControlKind, row: &[usize], rows: &[Option<Row<'_>>]) -> (Vec<u8>, Shape) {
    let control = Control { index: 3, name: "C".into(), kind, row: Shape::new(row) };
    let input = control.input(rows);
    assert_eq!((input.index, input.datatype, input.parts.len()), (3, kind.datatype(), 1));
    assert_eq!(input.parts[0].shape(), &input.shape);
    (input.parts[0].data().to_vec(), input.shape)
}

#[test]
fn flags_are_told_in_the_values_that_are_configured() {
    let id = SequenceId::Number(7);
    let rows = [
        Some(Row { start: true, end: false, id: &id }),
        None,
        Some(Row { start: false, end: true, id: &id }),
    ];
    let start = ControlKind::Start(FalseTrue::Bool([false, true]));
    assert_eq!(bytes(start, &[1, 1], &rows), (vec![1, 0, 0], Shape::from([3, 1])));
    let ready = ControlKind::Ready(FalseTrue::Int32([-1, 2]));
    let expected: Vec<u8> = [2_i32, -1, 2].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(bytes(ready, &[1], &rows), (expected, Shape::from([3])));
    let end = ControlKind::End(FalseTrue::Fp32([0.0, 0.5]));
    let expected: Vec<u8> = [0.0_f32, 0.0, 0.5].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(bytes(end, &[1, 1], &rows), (expected, Shape::from([3, 1])));
}

#[test]
fn ids_are_told_as_each_datatype() {
    let number = SequenceId::Number(0x0102);
    let text = SequenceId::Text("ab".into());
    let row = |id| Some(Row { start: false, end: false, id });
    let of = |datatype, id| bytes(ControlKind::CorrelationId(datatype), &[1, 1], &[row(id), None]).0;
    for datatype in [DataType::Int32, DataType::Uint32] {
        assert_eq!(of(datatype, &number), [2, 1, 0, 0, 0, 0, 0, 0]);
    }
    for datatype in [DataType::Int64, DataType::Uint64] {
        assert_eq!(of(datatype, &number), [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    assert_eq!(of(DataType::Bytes, &text), *b"\x02\0\0\0ab\0\0\0\0");
    assert_eq!(of(DataType::Bytes, &number), *b"\x03\0\0\x00258\0\0\0\0");
}

#[test]
fn without_a_batch_dimension_a_control_has_the_shape_of_one_row() {
    let id = SequenceId::Number(1);
    let rows = [Some(Row { start: true, end: false, id: &id })];
    let start = ControlKind::Start(FalseTrue::Bool([false, true]));
    assert_eq!(bytes(start, &[1], &rows), (vec![1], Shape::from([1])));
    assert_eq!(bytes(start, &[], &rows), (vec![1], Shape::from([])));
}

#[test]
fn an_id_that_does_not_fit_its_datatype_is_told_apart() {
    let number = |number| SequenceId::Number(number);
    let limits = [
        (DataType::Int32, i32::MAX as u64),
        (DataType::Uint32, u64::from(u32::MAX)),
        (DataType::Int64, i64::MAX as u64),
    ];
    for (datatype, most) in limits {
        assert!(can_tell(&number(most), datatype), "{datatype}");
        assert!(!can_tell(&number(most + 1), datatype), "{datatype}");
    }
    assert!(can_tell(&number(u64::MAX), DataType::Uint64));
    assert!(can_tell(&number(u64::MAX), DataType::Bytes));
    let text = SequenceId::Text("7".into());
    assert!(can_tell(&text, DataType::Bytes));
    assert!(!can_tell(&text, DataType::Uint64));
}
