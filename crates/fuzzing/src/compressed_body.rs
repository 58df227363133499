use adulis_http::received::{deflated, inflated};

/// The most that a body is decompressed to.
const LIMIT: usize = 1 << 20;

/// Bodies with a content coding: the first byte chooses which.
#[must_use]
pub fn compressed_body(input: &[u8]) -> bool {
    let Some((kind, body)) = input.split_first() else {
        return false;
    };
    let is_gzip = kind % 2 == 0;
    let Some(bytes) = inflated(is_gzip, body, LIMIT) else {
        return false;
    };
    assert!(bytes.len() <= LIMIT, "{} bytes", bytes.len());
    if let Some(less) = bytes.len().checked_sub(1) {
        assert!(inflated(is_gzip, body, less).is_none(), "the limit is passed");
    }
    let again = deflated(is_gzip, bytes.clone()).expect("memory takes what is written");
    assert_eq!(inflated(is_gzip, &again, LIMIT), Some(bytes));
    true
}
