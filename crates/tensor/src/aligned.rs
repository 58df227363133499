use std::ops::{Deref, DerefMut};

/// Alignment of [`AlignedBuffer`] in bytes: a cache line, and the widest vector register.
const LINE_BYTES: usize = 64;

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct Line([u8; LINE_BYTES]);

/// A growable byte buffer that starts on a 64-byte boundary, so that any datatype in it is aligned.
///
/// Made to be reused: [`AlignedBuffer::resize`] keeps the allocation when it shrinks.
#[derive(Clone, Default)]
pub struct AlignedBuffer {
    lines: Vec<Line>,
    length: usize,
}

impl AlignedBuffer {
    /// A buffer of `length` zero bytes.
    ///
    /// Cost: one allocation; the system's zero pages are taken as they are, so a large buffer costs memory only as it is
    /// written.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        Self { lines: bytemuck::zeroed_vec(length.div_ceil(LINE_BYTES)), length }
    }

    /// Sets the length in bytes; new bytes are zero or what an earlier use left there.
    pub fn resize(&mut self, length: usize) {
        let lines = length.div_ceil(LINE_BYTES);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0; LINE_BYTES]));
        }
        self.length = length;
    }

    /// Replaces the content by `parts`, one after the other, and says whether the buffer kept its place in memory.
    ///
    /// Cost: one copy of all parts; an allocation only if the buffer has never been this long.
    pub fn gather<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]> + Clone) -> bool {
        let before = self.as_ptr();
        self.resize(parts.clone().map(<[u8]>::len).sum());
        let mut rest = &mut self[..];
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        std::ptr::eq(before, self.as_ptr())
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.length]
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuffer").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_aligned_and_reuses_its_place() {
        let mut buffer = AlignedBuffer::default();
        buffer.gather([&[1_u8; 100][..], &[2; 30]].into_iter());
        assert_eq!(buffer.as_ptr().align_offset(LINE_BYTES), 0);
        assert_eq!((buffer.len(), buffer[99], buffer[100]), (130, 1, 2));
        assert!(buffer.gather([&[3_u8; 64][..]].into_iter()));
        assert_eq!(&buffer[..], &[3; 64]);
    }

    #[test]
    fn zeroed_has_its_length() {
        for length in [0, 1, 64, 65] {
            let buffer = AlignedBuffer::zeroed(length);
            assert_eq!(&buffer[..], vec![0; length]);
        }
    }
}
