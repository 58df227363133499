use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{Name, TensorMetadata};
use smallvec::SmallVec;

use super::element::Blob;
use super::problem::PredictProblem;
use crate::error::Parsed;
use crate::rest::data::kind_of;
use crate::rest::element::{Element, ElementFault};
use crate::rest::scanner::Scanner;
use crate::tensors::counted;
use crate::{MAX_RANK, Problem, Side, TensorLabel, TensorProblem};

/// One input's data as it is read. Its shape follows from the lists: the first of each depth says how long they are.
pub(in crate::rest) struct Column {
    label: TensorLabel,
    datatype: DataType,
    out: Vec<u8>,
    count: usize,
    /// Rows that were read.
    pub(super) rows: usize,
    /// The extent of each dimension, once a list of it has ended.
    extents: SmallVec<[Option<usize>; 6]>,
    /// How deep the elements lie, once there was one.
    rank: Option<usize>,
}

impl Column {
    pub(in crate::rest) fn new(index: usize, input: &TensorMetadata) -> Self {
        let label = TensorLabel { side: Side::Input, index, name: Some(Name::from(&*input.name)) };
        Self {
            label,
            datatype: input.datatype,
            out: Vec::new(),
            count: 0,
            rows: 0,
            extents: SmallVec::new(),
            rank: None,
        }
    }

    /// Reads the tensor as a whole.
    pub(in crate::rest) fn read_all(&mut self, scanner: &mut Scanner<'_>) -> Parsed<()> {
        self.value(scanner, 0)
    }

    /// Reads one row.
    pub(super) fn read_row(&mut self, scanner: &mut Scanner<'_>) -> Parsed<()> {
        self.value(scanner, 1)?;
        self.rows += 1;
        Ok(())
    }

    /// The tensor of all rows that were read.
    pub(super) fn into_rows(mut self) -> Parsed<Tensor> {
        self.end_of_list(0, self.rows)?;
        self.into_tensor()
    }

    /// The tensor that was read.
    pub(in crate::rest) fn into_tensor(self) -> Parsed<Tensor> {
        // Every list has ended by now.
        let shape: Shape = self.extents.iter().map(|extent| extent.unwrap_or_default()).collect();
        counted(self.datatype, shape, self.out.into(), self.count)
            .map_err(|problem| self.label.problem(problem))
    }

    /// Reads a value that lies in `depth` lists.
    fn value(&mut self, scanner: &mut Scanner<'_>, depth: usize) -> Parsed<()> {
        match self.datatype {
            DataType::Bool => self.nested::<bool>(scanner, depth),
            DataType::Uint8 => self.nested::<u8>(scanner, depth),
            DataType::Uint16 => self.nested::<u16>(scanner, depth),
            DataType::Uint32 => self.nested::<u32>(scanner, depth),
            DataType::Uint64 => self.nested::<u64>(scanner, depth),
            DataType::Int8 => self.nested::<i8>(scanner, depth),
            DataType::Int16 => self.nested::<i16>(scanner, depth),
            DataType::Int32 => self.nested::<i32>(scanner, depth),
            DataType::Int64 => self.nested::<i64>(scanner, depth),
            DataType::Fp32 => self.nested::<f32>(scanner, depth),
            DataType::Fp64 => self.nested::<f64>(scanner, depth),
            DataType::Bytes => self.nested::<Blob>(scanner, depth),
            DataType::Fp16 | DataType::Bf16 => {
                Err(self.problem(TensorProblem::NotInJson { datatype: self.datatype }))
            }
        }
    }

    fn nested<E: Element>(&mut self, scanner: &mut Scanner<'_>, depth: usize) -> Parsed<()> {
        if scanner.peek() != Some(b'[') {
            return self.element::<E>(scanner, depth);
        }
        if depth >= MAX_RANK {
            return Err(self.problem(TensorProblem::Rank { limit: MAX_RANK, got: depth + 1 }));
        }
        if self.rank.is_some_and(|rank| rank <= depth) {
            return Err(self.depth("a list", depth));
        }
        let mut length = 0;
        scanner.array(|scanner, index| {
            length = index + 1;
            self.nested::<E>(scanner, depth + 1)
        })?;
        self.end_of_list(depth, length)
    }

    #[inline]
    fn element<E: Element>(&mut self, scanner: &mut Scanner<'_>, depth: usize) -> Parsed<()> {
        // Lists that have ended, even empty ones, lie above the elements.
        if self.rank != Some(depth) {
            if self.rank.is_some() || self.extents.len() > depth {
                return Err(self.depth(kind_of(scanner.peek()), depth));
            }
            self.rank = Some(depth);
        }
        let first = scanner.peek();
        let start = scanner.offset();
        match E::read(scanner, first, &mut self.out) {
            Ok(()) => {
                self.count += 1;
                Ok(())
            }
            Err(ElementFault::Json(problem)) => Err(problem),
            Err(ElementFault::Value) => Err(self.wrong::<E>(scanner, start)),
        }
    }

    /// Notes the length of a list of dimension `axis`.
    fn end_of_list(&mut self, axis: usize, length: usize) -> Parsed<()> {
        if self.extents.len() <= axis {
            self.extents.resize(axis + 1, None);
        }
        match self.extents[axis] {
            None => self.extents[axis] = Some(length),
            Some(first) if first == length => {}
            Some(first) => {
                let input = self.label.name.clone().unwrap_or_default();
                return Err(Box::new(PredictProblem::Uneven { input, axis, first, other: length }.into()));
            }
        }
        Ok(())
    }

    /// What is wrong with the element that begins at `start`.
    #[cold]
    fn wrong<E: Element>(&self, scanner: &mut Scanner<'_>, start: usize) -> Box<Problem> {
        scanner.rewind(start);
        match scanner.peek() {
            None | Some(b',' | b']' | b'}' | b':') => scanner.wrong("a value"),
            Some(_) => self.problem(TensorProblem::Value {
                datatype: E::DATATYPE,
                index: self.count,
                expected: E::EXPECTED,
                got: scanner.excerpt_at(start),
            }),
        }
    }

    #[cold]
    fn depth(&self, got: &'static str, depth: usize) -> Box<Problem> {
        let input = self.label.name.clone().unwrap_or_default();
        let first = self.rank.unwrap_or(self.extents.len());
        Box::new(PredictProblem::Depth { input, first, got, depth }.into())
    }

    #[cold]
    fn problem(&self, problem: TensorProblem) -> Box<Problem> {
        self.label.clone().problem(problem)
    }
}
