use super::*;

/// A buffer of one table with one field of four bytes: the vtable at 8, the table at 16.
fn buffer() -> Vec<u8> {
    let words: [u32; 6] = [16, u32::from_le_bytes(*b"TEST"), 0x0008_0006, 4, 8, 7];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn number(bytes: &[u8]) -> Result<Option<u32>, String> {
    let reader = Reader::new(bytes);
    let number = reader.root(*b"TEST").and_then(|root| root.number(4));
    number.map(|found| found.map(u32::from_le_bytes)).map_err(|problem| problem.to_string())
}

#[test]
fn a_field_is_found_by_its_vtable() {
    assert_eq!(number(&buffer()), Ok(Some(7)));
    let bytes = buffer();
    let reader = Reader::new(&bytes);
    let root = reader.root(*b"TEST").unwrap();
    assert_eq!(root.number::<4>(6).unwrap(), None, "beyond the vtable");
    assert!(root.number::<8>(4).unwrap_err().to_string().contains("out of its table"));
}

#[test]
fn damage_is_told_whatever_it_is() {
    for (at, byte, message) in [
        (0, 0xff, "reaches out of the buffer"),
        (0, 0, "reaches out of the buffer"),
        (3, 0x80, "reaches out of the buffer"),
        (4, 0, "file identifier"),
        (16, 0xff, "reaches out of the buffer"),
        (19, 0x80, "reaches out of the buffer"),
        (8, 2, "shorter than its own header"),
        (8, 0xff, "reaches out of the buffer"),
        (10, 0xff, "reaches out of the buffer"),
        (10, 2, "shorter than its own header"),
        (12, 0xff, "out of its table"),
    ] {
        let mut bytes = buffer();
        bytes[at] = byte;
        let found = number(&bytes).unwrap_err();
        assert!(found.contains(message), "byte {at} as {byte}: {found}");
    }
    for length in 0..buffer().len() {
        assert!(number(&buffer()[..length]).is_err(), "cut to {length}");
    }
}
