use adulis_cache::value::{Packing, checksummed, decode, encode};
use adulis_cache::{Generation, Key};
use bytes::Bytes;

const LIMIT: usize = 1 << 20;

/// Values out of a shared cache tier, and the generations by which replicas tell each other of a purge: whatever lies there is
/// refused, or reads back to itself.
#[must_use]
pub fn cached_value(input: &[u8]) -> bool {
    if let Some(generation) = Generation::from_bytes(input) {
        assert_eq!(generation.to_bytes(), input);
        assert!(Generation::after(Some(generation)) > generation, "no purge could follow");
        return true;
    }
    let key = Key::from_bytes([7; 32]);
    let _ = decode(&key, &Bytes::copy_from_slice(input), LIMIT);
    // With a checksum that is right, so that what lies behind it is reached.
    let Some((packing, rest)) = input.split_first() else {
        return false;
    };
    let Ok((answer, computed)) = decode(&key, &checksummed(&key, *packing, rest), LIMIT) else {
        return false;
    };
    let packing = Packing { compress_from_bytes: None };
    let again = encode(&key, &answer, computed, packing);
    let (read, _) = decode(&key, &again, LIMIT).expect("our own value is read");
    // As text, for parameters that are not a number.
    assert_eq!(format!("{read:?}"), format!("{answer:?}"));
    true
}
