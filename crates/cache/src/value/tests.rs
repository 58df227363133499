use std::time::Duration;

use adulis_tensor::{DataType, Shape, append_element};
use adulis_types::ParameterValue;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const KEY: Key = Key::from_bytes([7; 32]);
const COMPUTED: Duration = Duration::from_millis(1_700_000_000_123);
const LIMIT: usize = 1 << 20;

fn answer() -> Answer {
    let numbers: Vec<u8> = (0_u16..4000).flat_map(|value| (value % 9).to_le_bytes()).collect();
    let mut texts = Vec::new();
    for text in ["", "one", "two"] {
        append_element(&mut texts, text.as_bytes()).unwrap();
    }
    let mut parameters = Parameters::default();
    for (name, value) in [
        ("flag", ParameterValue::Bool(true)),
        ("less", ParameterValue::Int64(-3)),
        ("more", ParameterValue::Uint64(u64::MAX)),
        ("part", ParameterValue::Double(-0.0)),
        ("text", ParameterValue::String("a longer text than fits beside its length".into())),
    ] {
        parameters.set(name, value);
    }
    Answer {
        outputs: vec![
            Tensor::new(DataType::Int16, Shape::from([1, 4000]), numbers.into()).unwrap(),
            Tensor::new(DataType::Bytes, Shape::from([3]), texts.into()).unwrap(),
            Tensor::new(DataType::Fp32, Shape::from([]), Bytes::from_static(&[0, 0, 128, 63])).unwrap(),
            Tensor::new(DataType::Fp64, Shape::from([0, 300]), Bytes::new()).unwrap(),
        ],
        parameters,
    }
}

fn written(compress: Option<usize>) -> Bytes {
    encode(&KEY, &answer(), COMPUTED, Packing { compress_from_bytes: compress })
}

#[test]
fn what_is_written_is_read() {
    let (plain, packed) = (written(None), written(Some(100)));
    assert!(packed.len() < plain.len() / 2);
    assert_eq!(written(Some(1 << 20)), plain, "it is smaller than that");
    for value in [plain, packed] {
        assert_eq!(decode(&KEY, &value, LIMIT), Ok((answer(), COMPUTED)));
    }
    let empty = encode(&KEY, &Answer::default(), COMPUTED, Packing { compress_from_bytes: Some(0) });
    assert_eq!(decode(&KEY, &empty, 16), Ok((Answer::default(), COMPUTED)));
}

#[test]
fn a_value_is_that_of_its_key_alone() {
    let other = Key::from_bytes([8; 32]);
    assert_eq!(decode(&other, &written(None), LIMIT), Err(ValueError::Checksum));
}

#[test]
fn values_over_the_limit_are_not_unpacked() {
    let bytes = 8000;
    for value in [written(None), written(Some(0))] {
        match decode(&KEY, &value, bytes) {
            Err(ValueError::TooLarge { bytes: found, limit }) => {
                assert!(found > 8000 && limit == bytes);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A value whose checksum is right, whatever is in it.
fn forged(packing: u8, length: u64, body: &[u8]) -> Bytes {
    let rest = [&[0; 8][..], &length.to_le_bytes(), body].concat();
    checksummed(&KEY, packing, &rest)
}

#[test]
fn forged_values_are_refused() {
    let plain = |body: &[u8]| decode(&KEY, &forged(PLAIN, body.len() as u64, body), LIMIT);
    assert_eq!(plain(&[0, 0]), Ok((Answer::default(), Duration::ZERO)));
    for body in [
        &[][..],
        &[0],
        // More outputs than follow, and than any model has.
        &[1],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        // Something behind the end.
        &[0, 0, 0],
        // A datatype that is none; a rank of 65; a length past the end.
        &[1, 3, b'F', b'P', b'8'],
        &[1, 4, b'B', b'O', b'O', b'L', 65],
        &[1, 4, b'B', b'O', b'O', b'L', 1, 1, 9],
        // Eleven bytes of a number, and ten of one that is too large.
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
        // A parameter of an unknown kind, and a name that is no text.
        &[0, 1, 1, b'a', 9],
        &[0, 1, 1, 0xff, 0, 0],
    ] {
        assert_eq!(plain(body), Err(ValueError::Content), "{body:?}");
    }
    let short = [1, 4, b'F', b'P', b'3', b'2', 1, 2, 4, 0, 0, 0, 0, 0];
    assert!(matches!(plain(&short), Err(ValueError::Output { index: 0, .. })));
    let huge = [
        1, 4, b'F', b'P', b'3', b'2', 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff,
        0x7f, 0, 0,
    ];
    assert!(matches!(plain(&huge), Err(ValueError::Output { index: 0, .. })));
    assert_eq!(decode(&KEY, &forged(PLAIN, 3, &[0, 0]), LIMIT), Err(ValueError::Content));
    assert_eq!(decode(&KEY, &forged(2, 2, &[0, 0]), LIMIT), Err(ValueError::Form));
    // A megabyte out of a few bytes would be taken from memory before anything is read.
    assert_eq!(decode(&KEY, &forged(LZ4, LIMIT as u64, &[0; 16]), LIMIT), Err(ValueError::Compression));
    assert_eq!(decode(&KEY, &forged(LZ4, 2, &[0xff; 9]), LIMIT), Err(ValueError::Compression));
}

proptest! {
    #[test]
    fn no_damage_goes_unseen(at in any::<prop::sample::Index>(), bit in 0_u8..8, packed in any::<bool>()) {
        let value = written(packed.then_some(0));
        let mut damaged = value.to_vec();
        let at = at.index(damaged.len());
        damaged[at] ^= 1 << bit;
        prop_assert!(decode(&KEY, &damaged.into(), LIMIT).is_err());
        prop_assert!(decode(&KEY, &value.slice(..at), LIMIT).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_harm(packing in 0_u8..3, length in 0_u64..64, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&KEY, &forged(packing, length, &body), LIMIT);
        let _ = decode(&KEY, &Bytes::from(body), LIMIT);
    }
}
