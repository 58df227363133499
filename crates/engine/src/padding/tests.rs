use adulis_tensor::{DataType, Shape, append_element};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn input(datatype: DataType, rows: &[&[u8]]) -> BatchInput {
    let parts: Vec<Tensor> = rows
        .iter()
        .map(|row| Tensor::new(datatype, Shape::from([1, 1]), Bytes::copy_from_slice(row)).unwrap())
        .collect();
    BatchInput {
        index: 0,
        name: "x".into(),
        datatype,
        shape: Shape::from([parts.len(), 1]),
        parts,
    }
}

#[test]
fn sizes_end_with_the_most_rows() {
    assert_eq!(BatchSizes::of(&[1, 8, 64], 64).all(), [1, 8, 64]);
    assert_eq!(BatchSizes::of(&[1, 8, 64], 48).all(), [1, 8, 48]);
    assert_eq!(BatchSizes::of(&[4], 64).all(), [4, 64]);
    assert!(BatchSizes::of(&[], 64).all().is_empty());
}

#[test]
fn a_batch_gets_the_first_size_it_fits() {
    let sizes = BatchSizes::of(&[1, 8], 64);
    let fitting = [1, 2, 8, 9, 64].map(|rows| sizes.fitting(rows));
    let expected = [(0, 1), (1, 8), (1, 8), (2, 64), (2, 64)].map(Some);
    assert_eq!(fitting, expected);
    assert_eq!(sizes.fitting(65), None, "more than a batch may have");
    assert_eq!(BatchSizes::default().fitting(3), None);
}

#[test]
fn strings_are_padded_with_empty_ones() {
    let mut word = Vec::new();
    append_element(&mut word, b"word").unwrap();
    let [padded] = pad(&[input(DataType::Bytes, &[&word])], 3).try_into().unwrap();
    assert_eq!(padded.shape, Shape::from([3, 1]));
    let elements: Vec<&[u8]> = padded.chunks().flat_map(adulis_tensor::elements_of).collect();
    assert_eq!(elements, [&b"word"[..], b"", b""]);
}

#[test]
fn other_outputs_are_left_as_they_are() {
    let tensor =
        |rows: usize| Tensor::new(DataType::Uint8, Shape::from([rows]), vec![7; rows].into()).unwrap();
    let mut outputs = [tensor(8), tensor(5)];
    cut(&mut outputs, 3, 8);
    assert_eq!(outputs, [tensor(3), tensor(5)]);
}

proptest! {
    #[test]
    fn what_is_padded_is_cut_again(values in prop::collection::vec(any::<u8>(), 1..40), more in 0_usize..40) {
        let rows: Vec<&[u8]> = values.chunks(1).collect();
        let size = rows.len() + more;
        let batch = [input(DataType::Uint8, &rows)];
        let [padded] = pad(&batch, size).try_into().unwrap();
        let whole: Vec<u8> = padded.chunks().flatten().copied().collect();
        prop_assert_eq!(&padded.shape, &Shape::from([size, 1]));
        prop_assert_eq!(whole.len(), size);
        prop_assert!(whole[values.len()..].iter().all(|&zero| zero == 0));
        let mut outputs = [Tensor::new(DataType::Uint8, padded.shape, whole.into()).unwrap()];
        cut(&mut outputs, values.len(), size);
        prop_assert_eq!(&outputs[0].data()[..], &values[..]);
    }
}
