use std::collections::HashMap;

use adulis_tensor::{DataType, Shape};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// All that a key is made of, so that two of them can be compared.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    model: &'static str,
    version: u64,
    files: u8,
    /// Shape and datatype by index: `[rows, width]` of one byte, or `[rows, width / 2]` of two.
    inputs: Vec<(usize, DataType, Vec<usize>, Vec<u8>)>,
    outputs: Option<Vec<usize>>,
    told: Option<(String, Vec<(String, ParameterValue)>)>,
    is_row: bool,
}

impl Asked {
    fn keys(&self) -> ModelKeys {
        let mut digest = ModelDigest::new(self.model, self.version);
        digest.part("files", &[self.files]);
        digest.finish()
    }

    fn key(&self) -> Key {
        let inputs: Vec<(usize, Tensor)> = self
            .inputs
            .iter()
            .map(|(index, datatype, shape, data)| {
                let data = Bytes::from(data.clone());
                (*index, Tensor::new(*datatype, Shape::new(shape), data).unwrap())
            })
            .collect();
        let told = self.told.as_ref().map(|(id, pairs)| {
            let mut parameters = Parameters::default();
            for (name, value) in pairs {
                parameters.set(name.as_str(), value.clone());
            }
            (id.as_str(), parameters)
        });
        let question = Question {
            inputs: &inputs,
            rows: self.is_row.then_some(1),
            outputs: self.outputs.as_deref(),
            told: told.as_ref().map(|(id, parameters)| (*id, parameters)),
        };
        self.keys().of(&question).unwrap()[0]
    }
}

fn input(index: usize) -> impl Strategy<Value = (usize, DataType, Vec<usize>, Vec<u8>)> {
    let shapes = prop_oneof![
        Just((DataType::Uint8, vec![1, 4])),
        Just((DataType::Int8, vec![1, 4])),
        Just((DataType::Bool, vec![1, 4])),
        Just((DataType::Uint8, vec![1, 2, 2])),
        Just((DataType::Uint8, vec![1, 4, 1])),
        Just((DataType::Fp16, vec![1, 2])),
        Just((DataType::Bf16, vec![1, 2])),
        Just((DataType::Fp32, vec![1])),
        Just((DataType::Int32, vec![1, 1])),
    ];
    (shapes, prop::collection::vec(0_u8..2, 4))
        .prop_map(move |((datatype, shape), data)| (index, datatype, shape, data))
}

fn value() -> impl Strategy<Value = ParameterValue> {
    prop_oneof![
        any::<bool>().prop_map(ParameterValue::Bool),
        (-1_i64..2).prop_map(ParameterValue::Int64),
        (0_u64..2).prop_map(ParameterValue::Uint64),
        prop_oneof![Just(0.0), Just(-0.0), Just(1.0)].prop_map(ParameterValue::Double),
        "[01]?".prop_map(|text| ParameterValue::String(text.into())),
    ]
}

/// Few values of everything, so that twins that differ in one thing only are common.
fn asked() -> impl Strategy<Value = Asked> {
    let inputs = prop_oneof![
        input(0).prop_map(|a| vec![a]),
        input(1).prop_map(|a| vec![a]),
        (input(0), input(1)).prop_map(|(a, b)| vec![a, b]),
    ];
    let outputs = prop_oneof![
        Just(None),
        Just(Some(vec![0])),
        Just(Some(vec![1])),
        Just(Some(vec![0, 1]))
    ];
    let pairs = prop::collection::vec(("[ab]{1,2}", value()), 0..3);
    let told = prop::option::of(("[ab]?", pairs));
    (
        (prop_oneof![Just("m"), Just("mm"), Just("")], 1_u64..3, 0_u8..2),
        (inputs, outputs, told, any::<bool>()),
    )
        .prop_map(|((model, version, files), (inputs, outputs, told, is_row))| {
            let told = told.map(|(id, mut pairs)| {
                // Of a name that is there twice, parameters keep the last value in the first place.
                pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
                pairs.dedup_by(|(a, _), (b, _)| a == b);
                (id, pairs)
            });
            Asked { model, version, files, inputs, outputs, told, is_row }
        })
}

/// A row's key leaves out how many rows its request had; all rows here are the only ones.
fn same(a: &Asked, b: &Asked) -> bool {
    let bits = |asked: &Asked| format!("{asked:?}");
    bits(a) == bits(b)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn near_twins_never_share_a_key(all in prop::collection::vec(asked(), 2..200)) {
        let mut known: HashMap<Key, Asked> = HashMap::new();
        for asked in all {
            let key = asked.key();
            prop_assert_eq!(key, asked.key(), "the same question has the same key");
            if let Some(other) = known.insert(key, asked.clone()) {
                prop_assert!(same(&other, &asked), "{:?} and {:?} share a key", other, asked);
            }
        }
    }

    #[test]
    fn a_twin_that_differs_in_one_thing_has_another_key(asked in asked(), change in 0_usize..9) {
        let mut twin = asked.clone();
        match change {
            0 => twin.model = if twin.model == "m" { "mm" } else { "m" },
            1 => twin.version += 1,
            // A model that was loaded again from other files.
            2 => twin.files += 1,
            3 => twin.outputs = if twin.outputs.is_none() { Some(vec![0, 1]) } else { None },
            4 => twin.is_row = !twin.is_row,
            5 => twin.told = Some(twin.told.map_or_else(
                || (String::new(), Vec::new()),
                |(id, pairs)| (format!("{id}x"), pairs),
            )),
            // The same bytes under another input's name.
            6 => twin.inputs[0].0 += 2,
            7 => twin.inputs[0].3[0] ^= 0x80,
            _ => twin.inputs[0].2.push(1),
        }
        prop_assert_ne!(asked.key(), twin.key(), "change {}", change);
    }
}

#[test]
fn swapped_inputs_are_another_question() {
    let of = |first: u8, second: u8| Asked {
        model: "m",
        version: 1,
        files: 0,
        inputs: vec![
            (0, DataType::Uint8, vec![1, 1], vec![first]),
            (1, DataType::Uint8, vec![1, 1], vec![second]),
        ],
        outputs: None,
        told: None,
        is_row: true,
    };
    assert_ne!(of(1, 2).key(), of(2, 1).key());
}

#[test]
fn each_row_has_the_key_that_it_has_alone() {
    let keys = ModelDigest::new("m", 1).finish();
    let data: Vec<u8> = (0..3 * 1500).map(|value| u8::try_from(value % 7).unwrap()).collect();
    let whole = Tensor::new(DataType::Uint8, Shape::from([3, 1500]), data.into()).unwrap();
    let of = |tensor: &Tensor, rows| {
        let inputs = [(0, tensor.clone())];
        keys.of(&Question { inputs: &inputs, rows, outputs: None, told: None })
    };
    let all = of(&whole, Some(3)).unwrap();
    assert_eq!(all.len(), 3);
    for (row, key) in all.iter().enumerate() {
        let alone = whole.rows(row..row + 1).unwrap();
        assert_eq!(of(&alone, Some(1)).unwrap()[0], *key);
        assert_ne!(of(&alone, None).unwrap()[0], *key, "a whole request is another question");
    }
    assert_eq!(of(&whole, Some(4)), None);
}

#[test]
fn several_keys_have_one_whatever_their_order() {
    let [a, b] = [Key::from_bytes([1; 32]), Key::from_bytes([2; 32])];
    assert_eq!(Key::of_all(&[a]), a);
    assert_eq!(Key::of_all(&[a, b]), Key::of_all(&[b, a]));
    assert_ne!(Key::of_all(&[a, b]), Key::of_all(&[a, a]));
    assert_eq!(a.to_string().len(), 64);
}
