//! The `data` of a tensor: a flat list of its elements, or lists nested as its shape is.

use std::marker::PhantomData;

use adulis_tensor::{DataType, Shape, Tensor};
use bytes::Bytes;

use crate::error::Parsed;
use crate::rest::element::{Element, ElementFault, Text};
use crate::rest::scanner::Scanner;
use crate::tensors::counted;
use crate::{Problem, TensorLabel, TensorProblem};

/// Reads the data that stands next into a tensor. Problems are put to the tensor that `label` names.
///
/// Memory is taken for what has come, never for what the shape claims: an element takes at least two bytes of JSON.
pub(super) fn read(
    scanner: &mut Scanner<'_>,
    datatype: DataType,
    shape: Shape,
    label: &dyn Fn() -> TensorLabel,
) -> Parsed<Tensor> {
    let (data, count) = match datatype {
        DataType::Bool => elements::<bool>(scanner, &shape, label),
        DataType::Uint8 => elements::<u8>(scanner, &shape, label),
        DataType::Uint16 => elements::<u16>(scanner, &shape, label),
        DataType::Uint32 => elements::<u32>(scanner, &shape, label),
        DataType::Uint64 => elements::<u64>(scanner, &shape, label),
        DataType::Int8 => elements::<i8>(scanner, &shape, label),
        DataType::Int16 => elements::<i16>(scanner, &shape, label),
        DataType::Int32 => elements::<i32>(scanner, &shape, label),
        DataType::Int64 => elements::<i64>(scanner, &shape, label),
        DataType::Fp32 => elements::<f32>(scanner, &shape, label),
        DataType::Fp64 => elements::<f64>(scanner, &shape, label),
        DataType::Bytes => elements::<Text>(scanner, &shape, label),
        DataType::Fp16 | DataType::Bf16 => {
            return Err(label().problem(TensorProblem::NotInJson { datatype }));
        }
    }?;
    counted(datatype, shape, data, count).map_err(|problem| label().problem(problem))
}

fn elements<E: Element>(
    scanner: &mut Scanner<'_>,
    shape: &Shape,
    label: &dyn Fn() -> TensorLabel,
) -> Parsed<(Bytes, usize)> {
    let claimed = shape.elements().unwrap_or(usize::MAX);
    let possible = scanner.remaining() / 2 + 1;
    let mut reader = Reader::<E> {
        out: Vec::with_capacity(claimed.min(possible) * E::LEAST_BYTES),
        count: 0,
        shape,
        label,
        element: PhantomData,
    };
    reader.whole(scanner)?;
    Ok((Bytes::from(reader.out), reader.count))
}

struct Reader<'a, E> {
    out: Vec<u8>,
    count: usize,
    shape: &'a Shape,
    label: &'a dyn Fn() -> TensorLabel,
    element: PhantomData<E>,
}

impl<E: Element> Reader<'_, E> {
    fn whole(&mut self, scanner: &mut Scanner<'_>) -> Parsed<()> {
        if scanner.peek() != Some(b'[') {
            // A scalar may stand for itself.
            return if self.shape.is_empty() {
                self.element(scanner)
            } else {
                Err(self.nesting(kind_of(scanner.peek()), 0))
            };
        }
        let start = scanner.offset();
        scanner.bump();
        if scanner.peek() == Some(b'[') {
            scanner.rewind(start);
            self.nested(scanner, 0)
        } else {
            self.row(scanner).map(drop)
        }
    }

    /// Reads lists within a list, and so on down to the innermost dimension.
    fn nested(&mut self, scanner: &mut Scanner<'_>, axis: usize) -> Parsed<()> {
        scanner.expect(b'[', "'['")?;
        let innermost = axis + 1 >= self.shape.len();
        let length = if innermost { self.row(scanner)? } else { self.lists(scanner, axis)? };
        match self.shape.get(axis) {
            Some(&extent) if extent == length => Ok(()),
            Some(&extent) => Err(self.problem(TensorProblem::Ragged {
                shape: self.shape.clone(),
                axis,
                expected: extent,
                actual: length,
            })),
            None => Err(self.nesting("a list", axis)),
        }
    }

    /// Reads the lists of dimension `axis`, whose opening bracket is taken; returns how many there are.
    fn lists(&mut self, scanner: &mut Scanner<'_>, axis: usize) -> Parsed<usize> {
        let mut length = 0;
        if scanner.peek() == Some(b']') {
            scanner.bump();
            return Ok(length);
        }
        loop {
            match scanner.peek() {
                Some(b'[') => self.nested(scanner, axis + 1)?,
                other => return Err(self.nesting(kind_of(other), axis + 1)),
            }
            length += 1;
            match scanner.peek() {
                Some(b',') => scanner.bump(),
                Some(b']') => break scanner.bump(),
                _ => return Err(scanner.wrong("',' or ']'")),
            }
        }
        Ok(length)
    }

    /// Reads the elements of a list whose opening bracket is taken; returns how many there are.
    #[inline]
    fn row(&mut self, scanner: &mut Scanner<'_>) -> Parsed<usize> {
        let before = self.count;
        if scanner.peek() == Some(b']') {
            scanner.bump();
            return Ok(0);
        }
        loop {
            self.element(scanner)?;
            match scanner.peek() {
                Some(b',') => scanner.bump(),
                Some(b']') => break scanner.bump(),
                _ => return Err(scanner.wrong("',' or ']'")),
            }
        }
        Ok(self.count - before)
    }

    #[inline]
    fn element(&mut self, scanner: &mut Scanner<'_>) -> Parsed<()> {
        let first = scanner.peek();
        let start = scanner.offset();
        match E::read(scanner, first, &mut self.out) {
            Ok(()) => {
                self.count += 1;
                Ok(())
            }
            Err(ElementFault::Json(problem)) => Err(problem),
            Err(ElementFault::Value) => Err(self.value(scanner, start)),
        }
    }

    /// What is wrong with the element that begins at `start`.
    #[cold]
    fn value(&self, scanner: &mut Scanner<'_>, start: usize) -> Box<Problem> {
        scanner.rewind(start);
        match scanner.peek() {
            None => scanner.wrong("a value"),
            Some(b'[') => self.nesting("a list", self.shape.len().max(1)),
            Some(b',' | b']' | b'}' | b':') => scanner.wrong("a value"),
            Some(_) => self.problem(TensorProblem::Value {
                datatype: E::DATATYPE,
                index: self.count,
                expected: E::EXPECTED,
                got: scanner.excerpt_at(start),
            }),
        }
    }

    #[cold]
    fn nesting(&self, got: &'static str, depth: usize) -> Box<Problem> {
        self.problem(TensorProblem::Nesting { shape: self.shape.clone(), rank: self.shape.len(), got, depth })
    }

    #[cold]
    fn problem(&self, problem: TensorProblem) -> Box<Problem> {
        (self.label)().problem(problem)
    }
}

/// What a value that begins with `first` is, for messages.
pub(super) fn kind_of(first: Option<u8>) -> &'static str {
    match first {
        Some(b'{') => "an object",
        Some(b'"') => "a string",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "a truth value",
        Some(b'n') => "null",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(_) => "no value",
        None => "the end",
    }
}
