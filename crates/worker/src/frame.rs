/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Asks whether a backend can run, or opens an instance. To the worker; the head is JSON.
    Open = 1,
    /// It is open. From the worker; the head is JSON.
    Opened = 2,
    /// A batch. To the worker.
    Run = 3,
    /// What it gave. From the worker.
    Ran = 4,
    /// Why not. From the worker; the head is JSON.
    Failed = 5,
}

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 24;
/// Longest head: a signature, or the parameters of a batch's requests.
pub(crate) const MAX_HEAD_BYTES: usize = 4 << 20;
/// Longest body that follows its head in the socket; a longer one is in the sender's sheet. A socket takes as much at once
/// without waiting for its reader.
pub(crate) const INLINE_BYTES: usize = 32 << 10;

/// What is before the head: the kind and three zeros, the head's length (4 bytes), the run's number (8) and the body's length
/// (8), little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) head_bytes: usize,
    /// Which run it is about; 0 before the first.
    pub(crate) run: u64,
    pub(crate) body_bytes: usize,
}

impl Header {
    pub(crate) fn write(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = self.kind as u8;
        bytes[4..8].copy_from_slice(&u32::try_from(self.head_bytes).unwrap_or(u32::MAX).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.run.to_le_bytes());
        bytes[16..].copy_from_slice(&(self.body_bytes as u64).to_le_bytes());
        bytes
    }

    /// Reads a header; `None` where it is none, or says more than may be.
    pub(crate) fn read(bytes: [u8; HEADER_BYTES], max_body_bytes: usize) -> Option<Self> {
        let kind = match bytes[..4] {
            [1, 0, 0, 0] => Kind::Open,
            [2, 0, 0, 0] => Kind::Opened,
            [3, 0, 0, 0] => Kind::Run,
            [4, 0, 0, 0] => Kind::Ran,
            [5, 0, 0, 0] => Kind::Failed,
            _ => return None,
        };
        let head_bytes = u32::from_le_bytes(bytes[4..8].try_into().ok()?);
        let head_bytes = usize::try_from(head_bytes).ok().filter(|bytes| *bytes <= MAX_HEAD_BYTES)?;
        let run = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
        let body_bytes = u64::from_le_bytes(bytes[16..].try_into().ok()?);
        let body_bytes = usize::try_from(body_bytes).ok().filter(|bytes| *bytes <= max_body_bytes)?;
        Some(Self { kind, head_bytes, run, body_bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_reads_back_the_same() {
        for kind in [Kind::Open, Kind::Opened, Kind::Run, Kind::Ran, Kind::Failed] {
            let header = Header { kind, head_bytes: MAX_HEAD_BYTES, run: u64::MAX, body_bytes: 77 };
            assert_eq!(Header::read(header.write(), 77), Some(header));
            assert_eq!(Header::read(header.write(), 76), None);
        }
        let header = Header { kind: Kind::Run, head_bytes: MAX_HEAD_BYTES + 1, run: 0, body_bytes: 0 };
        assert_eq!(Header::read(header.write(), 76), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes: [u8; HEADER_BYTES], limit: usize) {
            if let Some(header) = Header::read(bytes, limit) {
                prop_assert!(header.head_bytes <= MAX_HEAD_BYTES && header.body_bytes <= limit);
                prop_assert_eq!(header.write(), bytes);
            }
        }
    }
}
