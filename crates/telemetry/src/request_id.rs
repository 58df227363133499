use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest request id that is taken over from a client, in bytes.
const MAX_BYTES: usize = 128;

/// Tells this process's ids from those of its siblings and of its earlier lives.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A new request id: 16 hexadecimal digits drawn at random once per process, and a count.
#[must_use]
pub fn next_request_id() -> String {
    format!("{:016x}-{}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether a client's id is fit for logs and headers: 1 to 128 visible ASCII characters.
#[must_use]
pub fn is_request_id(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_valid() {
        let (one, two) = (next_request_id(), next_request_id());
        assert_ne!(one, two);
        assert!(is_request_id(one.as_bytes()), "{one}");
    }

    #[test]
    fn refuses_what_could_forge_a_log_line() {
        for id in [&b""[..], b"a b", b"a\nb", b"\xc3\xa9", &[b'a'; 129]] {
            assert!(!is_request_id(id), "{id:?}");
        }
        assert!(is_request_id(&[b'a'; 128]));
    }
}
