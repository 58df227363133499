use bytes::Bytes;
use smallvec::SmallVec;

use crate::body::Pieces;

/// The longest buffer that offsets of 31 bits can describe.
const MAX_BYTES: usize = 0x7fff_ffff;
const WORD_BYTES: usize = 4;
/// Length of the largest number; tables with their first field begin on such a boundary.
const LONG_BYTES: usize = 8;

/// A field of a table to be written.
pub(super) enum Field {
    Byte(u8),
    Long([u8; 8]),
    /// A string, list or table, which is written later and linked then.
    Link,
}

impl Field {
    fn length(&self) -> usize {
        match self {
            Field::Byte(_) => 1,
            Field::Link => WORD_BYTES,
            Field::Long(_) => LONG_BYTES,
        }
    }
}

/// Writes a buffer from its front to its end: what points stands before what it points to, and data comes last, so that it
/// need not be copied.
pub(super) struct Writer {
    out: Vec<u8>,
    /// Data that is to be linked at these places.
    data: Vec<(usize, Bytes)>,
}

impl Writer {
    /// A buffer whose root is linked at place 0.
    pub(super) fn new(identifier: [u8; 4]) -> Self {
        let mut out = vec![0; WORD_BYTES];
        out.extend(identifier);
        Self { out, data: Vec::new() }
    }

    /// Appends a table and links it at `link`. Returns where its own links are, in the order of `fields`.
    pub(super) fn table(&mut self, link: usize, fields: &[(u16, Field)]) -> SmallVec<[usize; 6]> {
        let vtable = self.write_vtable(fields);
        while self.out.len() % LONG_BYTES != LONG_BYTES - WORD_BYTES {
            self.out.push(0);
        }
        let table = self.out.len();
        self.link(link);
        self.out.extend_from_slice(&word(table - vtable));
        let mut links = SmallVec::new();
        for length in [LONG_BYTES, WORD_BYTES, 1] {
            for (slot, field) in fields.iter().filter(|(_, field)| field.length() == length) {
                let offset = half(self.out.len() - table);
                let place = vtable + usize::from(*slot);
                self.out[place..place + offset.len()].copy_from_slice(&offset);
                match field {
                    Field::Byte(value) => self.out.push(*value),
                    Field::Long(value) => self.out.extend_from_slice(value),
                    Field::Link => {
                        links.push(self.out.len());
                        self.out.extend_from_slice(&[0; WORD_BYTES]);
                    }
                }
            }
        }
        links
    }

    /// Appends a vtable that knows no offsets yet.
    fn write_vtable(&mut self, fields: &[(u16, Field)]) -> usize {
        self.align(WORD_BYTES);
        let vtable = self.out.len();
        let last = fields.iter().map(|(slot, _)| usize::from(*slot)).max();
        let vtable_length = last.map_or(WORD_BYTES, |last| last + size_of::<u16>());
        let table_length = WORD_BYTES + fields.iter().map(|(_, field)| field.length()).sum::<usize>();
        self.out.extend_from_slice(&half(vtable_length));
        self.out.extend_from_slice(&half(table_length));
        self.out.resize(vtable + vtable_length, 0);
        vtable
    }

    /// Appends a string.
    pub(super) fn text(&mut self, link: usize, text: &str) {
        self.list(link, text.len());
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
    }

    /// Appends a list of numbers of 64 bits.
    pub(super) fn longs(&mut self, link: usize, numbers: &[usize]) {
        while self.out.len() % LONG_BYTES != LONG_BYTES - WORD_BYTES {
            self.out.push(0);
        }
        self.list(link, numbers.len());
        for &number in numbers {
            self.out.extend_from_slice(&(number as u64).to_le_bytes());
        }
    }

    /// Appends a list of tables to come. Returns where they are to be linked.
    pub(super) fn tables(&mut self, link: usize, count: usize) -> impl Iterator<Item = usize> + use<> {
        self.list(link, count);
        let start = self.out.len();
        self.out.resize(start + count * WORD_BYTES, 0);
        (0..count).map(move |index| start + index * WORD_BYTES)
    }

    /// Takes bytes that will stand at the end of the buffer.
    pub(super) fn data(&mut self, link: usize, data: Bytes) {
        self.data.push((link, data));
    }

    /// The buffer, with each data on a boundary of `alignment` bytes; or its length, where that is too much.
    pub(super) fn finish(mut self, alignment: usize) -> Result<SmallVec<[Bytes; 4]>, usize> {
        let mut end = self.out.len();
        for (link, data) in &self.data {
            let start = (end + WORD_BYTES).next_multiple_of(alignment);
            end = start + data.len();
            if end > MAX_BYTES {
                continue;
            }
            self.out[*link..*link + WORD_BYTES].copy_from_slice(&word(start - WORD_BYTES - link));
        }
        if end > MAX_BYTES {
            return Err(end);
        }
        let mut end = self.out.len();
        let mut pieces = Pieces::new(self.out);
        for (_, data) in self.data {
            let start = (end + WORD_BYTES).next_multiple_of(alignment);
            let text = pieces.text();
            text.resize(text.len() + (start - WORD_BYTES - end), 0);
            text.extend_from_slice(&word(data.len()));
            end = start + data.len();
            pieces.push(data);
        }
        Ok(pieces.finish())
    }

    /// Appends the length of a list and links it.
    fn list(&mut self, link: usize, count: usize) {
        self.align(WORD_BYTES);
        self.link(link);
        self.out.extend_from_slice(&word(count));
    }

    fn align(&mut self, alignment: usize) {
        self.out.resize(self.out.len().next_multiple_of(alignment), 0);
    }

    /// Makes the offset at `link` point to what is written next.
    fn link(&mut self, link: usize) {
        let offset = word(self.out.len() - link);
        self.out[link..link + WORD_BYTES].copy_from_slice(&offset);
    }
}

/// What is longer than a buffer can be is refused before it is sent.
fn word(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

/// Tables of the schema have few fields.
fn half(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes()
}
