use proptest::prelude::*;
use proptest::sample::Index;

/// What decoders look for: marks of JSON, TOML and the text format, and numbers at the edge of something.
const TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"-",
    b".",
    b"e",
    b"\\u0000",
    b"\\ud800",
    b"\\",
    b"\n",
    b" ",
    b"=",
    b"#",
    b"null",
    b"true",
    b"NaN",
    b"Infinity",
    b"0",
    b"-0",
    b"1",
    b"-1",
    b"1e999",
    b"9223372036854775807",
    b"18446744073709551616",
    b"99999999999999999999",
    b"[[[[[[[[",
    b"{{{{{{{{",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\0",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"..",
    b"/",
    b"%00",
    b"\r\n",
];

/// Longer inputs are not made: they cost time and show nothing more.
const MAX_BYTES: usize = 64 << 10;

/// A seed, and what is done to it.
#[derive(Debug, Clone)]
pub(crate) struct Mutation {
    seed: Index,
    changes: Vec<Change>,
}

/// One step from one input to another. Places are shares of the length that there is by then.
#[derive(Debug, Clone)]
enum Change {
    /// Bytes in the place of some others.
    Put { at: Index, drop: usize, bytes: Vec<u8> },
    /// One bit the other way.
    Flip { at: Index, bit: u8 },
    /// A piece once more, or many times.
    Repeat { from: Index, to: Index, times: usize },
    /// Without a piece.
    Drop { from: Index, to: Index },
    /// With the rest of another seed.
    Cross { at: Index, seed: Index, from: Index },
}

impl Mutation {
    /// Any seed with a few changes.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let changes = prop::collection::vec(Change::any(), 1..5);
        (any::<Index>(), changes).prop_map(|(seed, changes)| Self { seed, changes })
    }

    /// How many changes it has.
    pub(crate) fn count(&self) -> usize {
        self.changes.len()
    }

    /// The input that results.
    pub(crate) fn applied(&self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let input = self.seed.get(seeds).clone();
        self.changes.iter().fold(input, |input, change| change.applied(input, seeds))
    }
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let bytes = prop_oneof![
            prop::sample::select(TOKENS).prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        let place = any::<Index>;
        prop_oneof![
            4 => (place(), 0_usize..4, bytes).prop_map(|(at, drop, bytes)| Self::Put { at, drop, bytes }),
            2 => (place(), 0_u8..8).prop_map(|(at, bit)| Self::Flip { at, bit }),
            1 => (place(), place(), 1_usize..100).prop_map(|(from, to, times)| Self::Repeat { from, to, times }),
            1 => (place(), place()).prop_map(|(from, to)| Self::Drop { from, to }),
            1 => (place(), place(), place()).prop_map(|(at, seed, from)| Self::Cross { at, seed, from }),
        ]
    }

    fn applied(&self, mut input: Vec<u8>, seeds: &[Vec<u8>]) -> Vec<u8> {
        let place = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match self {
            Self::Put { at, drop, bytes } => {
                let at = place(at, &input);
                let end = (at + drop).min(input.len());
                input.splice(at..end, bytes.iter().copied());
            }
            Self::Flip { at, bit } => {
                let at = place(at, &input);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Repeat { from, to, times } => {
                let (from, to) = (place(from, &input), place(to, &input));
                let (from, to) = (from.min(to), from.max(to));
                let room = MAX_BYTES.saturating_sub(input.len()) / (to - from).max(1);
                let piece = input[from..to].repeat(room.min(*times));
                input.splice(to..to, piece);
            }
            Self::Drop { from, to } => {
                let (from, to) = (place(from, &input), place(to, &input));
                input.drain(from.min(to)..from.max(to));
            }
            Self::Cross { at, seed, from } => {
                let other = seed.get(seeds);
                input.truncate(place(at, &input));
                input.extend_from_slice(&other[place(from, other)..]);
            }
        }
        input
    }
}
