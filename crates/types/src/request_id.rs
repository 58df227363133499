use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// The longest id that is taken over from a client, in bytes.
const MAX_BYTES: usize = 128;
/// How many numbers a thread takes at a time.
const BLOCK: u64 = 1024;

/// Tells this process's ids from those of its siblings and of its earlier lives.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
/// The first number that no thread has taken.
static UNTAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread's next number; a multiple of [`BLOCK`] where its block is used up.
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// What a request is called in the log and in the header `x-request-id`: as its client calls it, or by a number of ours.
///
/// A new one costs neither an allocation nor an access to memory that other threads write; it becomes text only where
/// somebody wants to read it. Not to be confused with the id in the protocol's messages, which is the client's own affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Name);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Given(Arc<str>),
    Numbered(u64),
}

impl RequestId {
    /// A new id, which no other request of this process has.
    #[must_use]
    pub fn next() -> Self {
        Self(Name::Numbered(NEXT.with(|next| {
            let mut number = next.get();
            if number.is_multiple_of(BLOCK) {
                number = UNTAKEN.fetch_add(BLOCK, Ordering::Relaxed);
            }
            next.set(number + 1);
            number
        })))
    }

    /// The id that a client gave, if it is fit for logs and headers: 1 to 128 visible ASCII characters.
    #[must_use]
    pub fn given(id: &[u8]) -> Option<Self> {
        let fit = (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        let id = std::str::from_utf8(id).ok().filter(|_| fit)?;
        Some(Self(Name::Given(id.into())))
    }
}

impl fmt::Display for RequestId {
    /// The client's text, or 16 hexadecimal digits drawn at random once per process, and a number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Given(id) => f.write_str(id),
            Name::Numbered(number) => write!(f, "{:016x}-{number}", *PROCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn ids_differ_over_blocks_and_threads_and_are_fit_for_headers() {
        let count = usize::try_from(BLOCK).unwrap() * 3 + 1;
        let ids = move || (0..count).map(|_| RequestId::next().to_string()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(ids)).collect();
        let ids: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), count * 4);
        for id in ids {
            assert!(RequestId::given(id.as_bytes()).is_some(), "{id}");
        }
    }

    #[test]
    fn refuses_what_could_forge_a_log_line() {
        for id in [&b""[..], b"a b", b"a\nb", b"\xc3\xa9", &[b'a'; 129]] {
            assert_eq!(RequestId::given(id), None, "{id:?}");
        }
        assert!(RequestId::given(&[b'a'; 128]).is_some());
        assert_eq!(RequestId::given(b"abc-1").unwrap().to_string(), "abc-1");
    }

    #[test]
    fn an_id_is_two_words() {
        assert_eq!(size_of::<RequestId>(), 16);
    }
}
