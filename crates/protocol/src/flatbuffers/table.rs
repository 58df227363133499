use std::cell::Cell;

use crate::Problem;
use crate::error::Parsed;

/// Length of an offset, and of the number before a list.
const WORD_BYTES: usize = 4;
/// Two lengths come before the fields of a vtable.
const VTABLE_HEADER_BYTES: usize = 4;
/// What fields may be longer together than the buffer, by sharing bytes: writers put equal strings down once.
const SHARED_BYTES: usize = 1 << 20;

const OUTSIDE: &str = "an offset or length reaches out of the buffer";
const OVERLAPPING: &str = "its fields overlap: they are longer together than the buffer";

/// A buffer that is being read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Bytes that may still be read.
    left: Cell<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, left: Cell::new(bytes.len().saturating_add(SHARED_BYTES)) }
    }

    /// The table that the buffer begins with.
    pub(super) fn root(&self, identifier: [u8; 4]) -> Parsed<Table<'_>> {
        if self.bytes.get(WORD_BYTES..2 * WORD_BYTES) != Some(&identifier[..]) {
            return Err(damaged("its file identifier is not that of adulis.InferRequest and InferResponse"));
        }
        self.table(0)
    }

    /// The table that the offset at `at` points to.
    fn table(&self, at: usize) -> Parsed<Table<'_>> {
        let start = self.target(at)?;
        let back = i64::from(i32::from_le_bytes(self.array(start)?));
        let vtable = i64::try_from(start).ok().and_then(|start| usize::try_from(start - back).ok());
        let vtable = vtable.ok_or_else(|| damaged(OUTSIDE))?;
        let vtable_length = usize::from(u16::from_le_bytes(self.array(vtable)?));
        let length = usize::from(u16::from_le_bytes(self.array(vtable.saturating_add(2))?));
        let slots = self.slice(vtable, vtable_length)?.get(VTABLE_HEADER_BYTES..);
        let fields = self.slice(start, length)?;
        self.claim(length)?;
        match slots {
            Some(slots) if length >= WORD_BYTES => Ok(Table { reader: self, start, fields, slots }),
            _ => Err(damaged("a table is shorter than its own header")),
        }
    }

    /// Where the offset at `at` points.
    fn target(&self, at: usize) -> Parsed<usize> {
        let offset = u32::from_le_bytes(self.array(at)?);
        let target = usize::try_from(offset).ok().and_then(|offset| at.checked_add(offset));
        target.filter(|_| offset > 0).ok_or_else(|| damaged(OUTSIDE))
    }

    /// The list that the offset at `at` points to: where its elements begin, and how many there are.
    fn list(&self, at: usize, element_bytes: usize) -> Parsed<(usize, usize)> {
        let target = self.target(at)?;
        let count = usize::try_from(u32::from_le_bytes(self.array(target)?)).unwrap_or(usize::MAX);
        let start = target + WORD_BYTES;
        let length = count.checked_mul(element_bytes).ok_or_else(|| damaged(OUTSIDE))?;
        self.slice(start, length)?;
        self.claim(length)?;
        Ok((start, count))
    }

    fn array<const N: usize>(&self, at: usize) -> Parsed<[u8; N]> {
        let found = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        found.copied().ok_or_else(|| damaged(OUTSIDE))
    }

    fn slice(&self, at: usize, length: usize) -> Parsed<&'a [u8]> {
        let end = at.checked_add(length).ok_or_else(|| damaged(OUTSIDE))?;
        self.bytes.get(at..end).ok_or_else(|| damaged(OUTSIDE))
    }

    fn claim(&self, length: usize) -> Parsed<()> {
        match self.left.get().checked_sub(length) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(damaged(OVERLAPPING)),
        }
    }
}

/// A table in a buffer. Fields are named by their places in the vtable, which `generated::infer` holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    reader: &'a Reader<'a>,
    start: usize,
    fields: &'a [u8],
    slots: &'a [u8],
}

impl<'a> Table<'a> {
    /// A number of `N` bytes.
    pub(super) fn number<const N: usize>(&self, slot: u16) -> Parsed<Option<[u8; N]>> {
        let Some(offset) = self.offset(slot) else {
            return Ok(None);
        };
        let found = self.fields.get(offset..).and_then(|rest| rest.first_chunk());
        found.copied().map(Some).ok_or_else(|| damaged("a field reaches out of its table"))
    }

    /// A text; empty where it was left out.
    pub(super) fn text(&self, slot: u16) -> Parsed<&'a str> {
        std::str::from_utf8(self.bytes(slot)?).map_err(|_| damaged("a string is not UTF-8"))
    }

    /// A text, if it is there.
    pub(super) fn optional_text(&self, slot: u16) -> Parsed<Option<&'a str>> {
        match self.offset(slot) {
            Some(_) => self.text(slot).map(Some),
            None => Ok(None),
        }
    }

    /// A list of bytes; empty where it was left out.
    pub(super) fn bytes(&self, slot: u16) -> Parsed<&'a [u8]> {
        let Some(at) = self.place(slot)? else {
            return Ok(&[]);
        };
        let (start, length) = self.reader.list(at, 1)?;
        self.reader.slice(start, length)
    }

    /// A list of numbers of 64 bits; empty where it was left out.
    pub(super) fn longs(&self, slot: u16) -> Parsed<&'a [[u8; 8]]> {
        let Some(at) = self.place(slot)? else {
            return Ok(&[]);
        };
        let (start, count) = self.reader.list(at, size_of::<u64>())?;
        Ok(self.reader.slice(start, count * size_of::<u64>())?.as_chunks().0)
    }

    /// A list of tables, `limit` at most; empty where it was left out.
    pub(super) fn tables(&self, slot: u16, what: &'static str, limit: usize) -> Parsed<Tables<'a>> {
        let reader = self.reader;
        let Some(at) = self.place(slot)? else {
            return Ok(Tables { reader, start: 0, count: 0 });
        };
        let (start, count) = reader.list(at, WORD_BYTES)?;
        if count > limit {
            return Err(Box::new(Problem::TooMany { what, limit }));
        }
        Ok(Tables { reader, start, count })
    }

    /// Where in the buffer a field is that points elsewhere.
    fn place(&self, slot: u16) -> Parsed<Option<usize>> {
        match self.number::<WORD_BYTES>(slot)? {
            None => Ok(None),
            Some(_) => Ok(self.offset(slot).map(|offset| self.start + offset)),
        }
    }

    /// Where in the table a field is, if it is there.
    fn offset(&self, slot: u16) -> Option<usize> {
        let slot = usize::from(slot).checked_sub(VTABLE_HEADER_BYTES)?;
        let offset = self.slots.get(slot..)?.first_chunk()?;
        Some(usize::from(u16::from_le_bytes(*offset))).filter(|&offset| offset > 0)
    }
}

/// A list of tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables<'a> {
    reader: &'a Reader<'a>,
    start: usize,
    count: usize,
}

impl<'a> Tables<'a> {
    pub(super) fn len(self) -> usize {
        self.count
    }

    /// The tables in their order, each read when it is come to.
    pub(super) fn iter(self) -> impl Iterator<Item = Parsed<Table<'a>>> {
        (0..self.count).map(move |index| self.reader.table(self.start + index * WORD_BYTES))
    }
}

#[cold]
fn damaged(reason: &'static str) -> Box<Problem> {
    Box::new(Problem::Wire { reason: reason.into() })
}

#[cfg(test)]
mod tests;
