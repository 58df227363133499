//! Rows of tensors, taken out and put together again.

use adulis_tensor::Tensor;
use bytes::{Bytes, BytesMut};

use crate::compute::Inputs;
use crate::value::Answer;

/// Some rows of every input, in this order. Nothing is copied where they are all of them, or neighbours.
///
/// `None` where the inputs do not have these rows.
pub(crate) fn gather(inputs: &Inputs, rows: &[usize], total: usize) -> Option<Inputs> {
    if rows.len() == total && rows.iter().copied().eq(0..total) {
        return Some(inputs.clone());
    }
    let neighbours = rows.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    let gathered = inputs.iter().map(|(index, tensor)| {
        let tensor = match (rows, neighbours) {
            ([], _) => return None,
            ([first, ..], true) => tensor.rows(*first..first + rows.len())?,
            _ => {
                let parts = tensor.split_rows(std::iter::repeat_n(1, total))?;
                let wanted = rows.iter().map(|row| parts.get(*row)).collect::<Option<Vec<_>>>()?;
                concatenated(&wanted)?
            }
        };
        Some((*index, tensor))
    });
    gathered.collect()
}

/// One answer for each row of an answer. `None` where it cannot be cut into that many, or says something of them all.
pub(crate) fn split(answer: &Answer, rows: usize) -> Option<Vec<Answer>> {
    if rows == 1 {
        return Some(vec![answer.clone()]);
    }
    if !answer.parameters.is_empty() {
        return None;
    }
    let mut answers: Vec<Answer> = std::iter::repeat_with(Answer::default).take(rows).collect();
    for output in &answer.outputs {
        let parts = output.split_rows(std::iter::repeat_n(1, rows))?;
        for (answer, part) in answers.iter_mut().zip(parts) {
            answer.outputs.push(part);
        }
    }
    Some(answers)
}

/// One answer of several rows. One alone is shared, not copied. `None` where they do not fit together.
pub(crate) fn stitch(rows: &[&Answer]) -> Option<Answer> {
    let (first, others) = rows.split_first()?;
    if others.is_empty() {
        return Some((*first).clone());
    }
    let outputs = first.outputs.len();
    if rows.iter().any(|row| row.outputs.len() != outputs || !row.parameters.is_empty()) {
        return None;
    }
    let stitched = (0..outputs).map(|index| {
        let parts: Vec<&Tensor> = rows.iter().map(|row| &row.outputs[index]).collect();
        concatenated(&parts)
    });
    Some(Answer { outputs: stitched.collect::<Option<_>>()?, ..Answer::default() })
}

/// Tensors one behind the other. One copy. `None` where they differ in more than how many rows they have.
fn concatenated(parts: &[&Tensor]) -> Option<Tensor> {
    let first = parts.first()?;
    let like_the_first = |part: &&&Tensor| {
        part.datatype() == first.datatype()
            && part.shape().rows().is_some()
            && part.shape().row_dimensions() == first.shape().row_dimensions()
    };
    if !parts.iter().all(|part| like_the_first(&part)) {
        return None;
    }
    let rows = parts.iter().map(|part| part.shape().rows().unwrap_or(0)).sum();
    let mut data = BytesMut::with_capacity(parts.iter().map(|part| part.data().len()).sum());
    for part in parts {
        data.extend_from_slice(part.data());
    }
    let data: Bytes = data.freeze();
    Tensor::new(first.datatype(), first.shape().with_rows(rows), data).ok()
}

#[cfg(test)]
mod tests {
    use adulis_tensor::{DataType, Shape, append_element};
    use adulis_types::ParameterValue;
    use proptest::prelude::*;

    use super::*;

    fn numbers(rows: usize, width: usize) -> Tensor {
        let data: Vec<u8> = (0..rows * width).map(|value| u8::try_from(value % 251).unwrap()).collect();
        Tensor::new(DataType::Uint8, Shape::from([rows, width]), data.into()).unwrap()
    }

    fn texts(rows: usize) -> Tensor {
        let mut data = Vec::new();
        for row in 0..rows {
            append_element(&mut data, "x".repeat(row % 4).as_bytes()).unwrap();
        }
        Tensor::new(DataType::Bytes, Shape::from([rows]), data.into()).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_cut_and_put_together_is_the_same(rows in 1_usize..20, width in 0_usize..4) {
            let answer = Answer { outputs: vec![numbers(rows, width), texts(rows)], ..Answer::default() };
            let cut = split(&answer, rows).unwrap();
            prop_assert_eq!(cut.len(), rows);
            let again = stitch(&cut.iter().collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(again, answer);
        }

        #[test]
        fn gathered_rows_are_those_that_were_wanted(
            total in 1_usize..12,
            picks in prop::collection::vec(0_usize..12, 1..12),
        ) {
            let inputs = vec![(0, numbers(total, 3)), (2, texts(total))];
            let picks: Vec<usize> = picks.into_iter().map(|pick| pick % total).collect();
            let gathered = gather(&inputs, &picks, total).unwrap();
            for ((index, whole), (same, part)) in inputs.iter().zip(&gathered) {
                prop_assert_eq!(index, same);
                for (at, pick) in picks.iter().enumerate() {
                    prop_assert_eq!(part.rows(at..at + 1).unwrap(), whole.rows(*pick..pick + 1).unwrap());
                }
            }
        }
    }

    #[test]
    fn neighbours_and_single_rows_are_not_copied() {
        let inputs = vec![(0, numbers(4, 2))];
        let gathered = gather(&inputs, &[1, 2], 4).unwrap();
        assert_eq!(gathered[0].1.data().as_ptr(), inputs[0].1.data()[2..].as_ptr());
        let answer = Answer { outputs: vec![numbers(1, 2)], ..Answer::default() };
        let stitched = stitch(&[&answer]).unwrap();
        assert_eq!(stitched.outputs[0].data().as_ptr(), answer.outputs[0].data().as_ptr());
    }

    #[test]
    fn rows_that_do_not_fit_together_are_told() {
        let narrow = Answer { outputs: vec![numbers(1, 2)], ..Answer::default() };
        let wide = Answer { outputs: vec![numbers(1, 3)], ..Answer::default() };
        assert_eq!(stitch(&[&narrow, &wide]), None);
        let mut saying = narrow.clone();
        saying.parameters.set("said", ParameterValue::Bool(true));
        assert_eq!(stitch(&[&narrow, &saying]), None);
        assert_eq!(stitch(&[&saying]), Some(saying.clone()));
        assert_eq!(stitch(&[]), None);
        assert_eq!(split(&saying, 1).map(|rows| rows.len()), Some(1));
        let mut both = Answer { outputs: vec![numbers(2, 2)], ..Answer::default() };
        assert_eq!(split(&both, 3), None);
        both.parameters = saying.parameters;
        assert_eq!(split(&both, 2), None);
        assert!(gather(&vec![(0, numbers(2, 1))], &[0, 2], 3).is_none());
    }
}
