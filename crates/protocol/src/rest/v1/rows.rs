//! The data of a request, row by row or tensor by tensor, sorted by the model's inputs.

use adulis_tensor::DataType;
use adulis_types::{InputTensor, Name, TensorMetadata};

use super::column::Column;
use super::element::B64;
use super::problem::PredictProblem;
use crate::Problem;
use crate::error::{Parsed, excerpt};
use crate::rest::parameter::duplicate;
use crate::rest::scanner::Scanner;

/// Reads the value of `instances`: a list of rows, each a bare value or an object with the inputs' names.
pub(super) fn read_instances(
    scanner: &mut Scanner<'_>,
    inputs: &[TensorMetadata],
) -> Parsed<Vec<InputTensor>> {
    let mut table = Table::new(inputs);
    let mut rows = 0;
    scanner.array(|scanner, index| {
        rows = index + 1;
        table.read_row(scanner, index)
    })?;
    if rows == 0 {
        return Err(Box::new(PredictProblem::NoInstances.into()));
    }
    table.into_inputs(Column::into_rows)
}

/// Reads the value of `inputs`: one tensor, or an object of them by the inputs' names.
pub(super) fn read_inputs(scanner: &mut Scanner<'_>, inputs: &[TensorMetadata]) -> Parsed<Vec<InputTensor>> {
    let mut table = Table::new(inputs);
    if table.is_named(scanner) {
        scanner.object(|scanner, key| {
            let index = table.index_of(key)?;
            if table.columns[index].is_some() {
                return Err(duplicate(key));
            }
            table.column(index).read_all(scanner)
        })?;
    } else {
        let index = table.single()?;
        table.column(index).read_all(scanner)?;
    }
    table.into_inputs(Column::into_tensor)
}

/// A column for each input that was met.
struct Table<'a> {
    inputs: &'a [TensorMetadata],
    columns: Vec<Option<Column>>,
}

impl<'a> Table<'a> {
    fn new(inputs: &'a [TensorMetadata]) -> Self {
        Self { inputs, columns: inputs.iter().map(|_| None).collect() }
    }

    fn column(&mut self, index: usize) -> &mut Column {
        let input = &self.inputs[index];
        self.columns[index].get_or_insert_with(|| Column::new(index, input))
    }

    fn read_row(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Parsed<()> {
        if !self.is_named(scanner) {
            let index = self.single()?;
            return self.column(index).read_row(scanner);
        }
        scanner.object(|scanner, key| {
            let index = self.index_of(key)?;
            let column = self.column(index);
            if column.rows > row {
                return Err(duplicate(key));
            }
            if column.rows < row {
                return Err(missing(column.rows, &self.inputs[index]));
            }
            column.read_row(scanner)
        })?;
        self.check_row(row)
    }

    /// That a row has what the model needs and what the rows before it have.
    fn check_row(&self, row: usize) -> Parsed<()> {
        for (input, column) in self.inputs.iter().zip(&self.columns) {
            let lacks = match column {
                Some(column) => column.rows <= row,
                None => !input.optional,
            };
            if lacks {
                return Err(missing(row, input));
            }
        }
        Ok(())
    }

    /// Whether an object with the inputs' names comes next. One that begins with the key `b64` is bytes, unless an input
    /// has that name.
    fn is_named(&self, scanner: &mut Scanner<'_>) -> bool {
        if scanner.peek() != Some(b'{') {
            return false;
        }
        let [input] = self.inputs else { return true };
        if input.datatype != DataType::Bytes || &*input.name == B64 {
            return true;
        }
        let start = scanner.offset();
        scanner.bump();
        let bytes = scanner.peek() == Some(b'"') && scanner.string().is_ok_and(|key| key == B64);
        scanner.rewind(start);
        !bytes
    }

    /// The only input of the model.
    fn single(&self) -> Parsed<usize> {
        if self.inputs.len() == 1 {
            return Ok(0);
        }
        Err(Box::new(PredictProblem::NoNames { expected: self.names() }.into()))
    }

    fn index_of(&self, name: &str) -> Parsed<usize> {
        self.inputs.iter().position(|input| &*input.name == name).ok_or_else(|| {
            let problem =
                PredictProblem::UnknownInput { input: excerpt(name.as_bytes()), expected: self.names() };
            Box::new(problem.into())
        })
    }

    /// The inputs' names, for messages.
    fn names(&self) -> String {
        match self.inputs {
            [] => "no inputs".to_owned(),
            inputs => inputs.iter().map(|input| format!("'{}'", input.name)).collect::<Vec<_>>().join(", "),
        }
    }

    fn into_inputs(
        self,
        tensor: impl Fn(Column) -> Parsed<adulis_tensor::Tensor>,
    ) -> Parsed<Vec<InputTensor>> {
        let columns = self.inputs.iter().zip(self.columns);
        let found = columns.filter_map(|(input, column)| Some((input, column?)));
        found
            .map(|(input, column)| {
                Ok(InputTensor { name: Name::from(&*input.name), tensor: tensor(column)? })
            })
            .collect()
    }
}

#[cold]
fn missing(index: usize, input: &TensorMetadata) -> Box<Problem> {
    Box::new(PredictProblem::MissingInput { index, input: Name::from(&*input.name) }.into())
}
