//! One tensor object: an input of a request, or an output of a response.

use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{Name, Parameters, RegionPlace};
use bytes::Bytes;

use crate::error::Parsed;
use crate::parameters::{BINARY_DATA_SIZE, is_of_place, take_place};
use crate::rest::data;
use crate::rest::parameter::{self, duplicate, once, wrong};
use crate::rest::scanner::Scanner;
use crate::tensors::{binary_tensor, datatype_of};
use crate::{MAX_RANK, Problem, Side, TensorLabel, TensorProblem};

/// What is known of a tensor while its object is read; keys come in any order.
struct Fields {
    side: Side,
    index: usize,
    name: Option<Name>,
    datatype: Option<DataType>,
    shape: Option<Shape>,
    data: Data,
    binary_size: Option<u64>,
    /// Those that say where the tensor lies in shared memory.
    shared: Parameters,
}

enum Data {
    None,
    /// Skipped for now, since datatype or shape were not known yet.
    At(usize),
    Read(Tensor),
}

/// A tensor, or where it is.
pub(super) enum Found {
    Here(Tensor),
    Shared { datatype: DataType, shape: Shape, place: RegionPlace },
}

/// Reads one tensor. Binary data is cut off the front of `binary`, where the tensors' bytes lie in their order.
pub(super) fn read(
    scanner: &mut Scanner<'_>,
    (side, index): (Side, usize),
    binary: &mut Bytes,
) -> Parsed<(Name, Found)> {
    let mut fields = Fields {
        side,
        index,
        name: None,
        datatype: None,
        shape: None,
        data: Data::None,
        binary_size: None,
        shared: Parameters::default(),
    };
    scanner.object(|scanner, key| fields.read(scanner, key))?;
    let Some(name) = fields.name.take() else {
        return Err(fields.problem(TensorProblem::Missing { key: "name" }));
    };
    match fields.found(scanner, &name, binary) {
        Ok(found) => Ok((name, found)),
        Err(Fault::Tensor(problem)) => {
            fields.name = Some(name);
            Err(fields.problem(problem))
        }
        Err(Fault::Whole(problem)) => Err(problem),
    }
}

/// A problem with the tensor, or with the JSON around it.
enum Fault {
    Tensor(TensorProblem),
    Whole(Box<Problem>),
}

impl Fields {
    #[inline]
    fn read(&mut self, scanner: &mut Scanner<'_>, key: &str) -> Parsed<()> {
        match key {
            "name" => {
                let name = Name::from(scanner.string()?.as_ref());
                once(&mut self.name, key, name)
            }
            "datatype" => {
                let text = scanner.string()?;
                let datatype = datatype_of(&text).map_err(|problem| self.problem(problem))?;
                once(&mut self.datatype, key, datatype)
            }
            "shape" => {
                let shape = self.read_shape(scanner)?;
                once(&mut self.shape, key, shape)
            }
            "parameters" => self.read_parameters(scanner),
            "data" => self.read_data(scanner),
            _ => scanner.skip_value(),
        }
    }

    fn read_shape(&self, scanner: &mut Scanner<'_>) -> Parsed<Shape> {
        let mut dimensions = smallvec::SmallVec::<[usize; MAX_RANK]>::new();
        scanner.array(|scanner, index| {
            if index == MAX_RANK {
                return Err(self.problem(TensorProblem::Rank { limit: MAX_RANK, got: index + 1 }));
            }
            let start = {
                scanner.peek();
                scanner.offset()
            };
            let dimension = match scanner.peek() {
                Some(b'-' | b'0'..=b'9') => scanner.number()?.integer(),
                _ => None,
            };
            match dimension.and_then(|dimension| usize::try_from(dimension).ok()) {
                Some(dimension) => dimensions.push(dimension),
                None => {
                    return Err(
                        self.problem(TensorProblem::Dimension { index, got: scanner.excerpt_at(start) })
                    );
                }
            }
            Ok(())
        })?;
        Ok(Shape::new(&dimensions))
    }

    /// Reads the parameters that the codec knows. Others say nothing to any engine, and are let pass as Triton does.
    fn read_parameters(&mut self, scanner: &mut Scanner<'_>) -> Parsed<()> {
        scanner.object(|scanner, key| match key {
            BINARY_DATA_SIZE => {
                scanner.peek();
                let start = scanner.offset();
                let size = match scanner.peek() {
                    Some(b'-' | b'0'..=b'9') => scanner.number()?.integer(),
                    _ => None,
                };
                match size.and_then(|size| u64::try_from(size).ok()) {
                    Some(size) => once(&mut self.binary_size, key, size),
                    None => Err(wrong(scanner, key, start, "a number of bytes")),
                }
            }
            _ if is_of_place(key) => {
                let value = parameter::read(scanner, key)?;
                if self.shared.get(key).is_some() {
                    return Err(duplicate(key));
                }
                self.shared.set(key, value);
                Ok(())
            }
            _ => scanner.skip_value(),
        })
    }

    fn read_data(&mut self, scanner: &mut Scanner<'_>) -> Parsed<()> {
        if !matches!(self.data, Data::None) {
            return Err(duplicate("data"));
        }
        scanner.peek();
        let start = scanner.offset();
        self.data = match (self.datatype, &self.shape) {
            (Some(datatype), Some(shape)) => {
                Data::Read(data::read(scanner, datatype, shape.clone(), &|| self.label())?)
            }
            _ => {
                scanner.skip_value()?;
                Data::At(start)
            }
        };
        Ok(())
    }

    /// What the object says, being read to the end.
    fn found(&mut self, scanner: &mut Scanner<'_>, name: &Name, binary: &mut Bytes) -> Result<Found, Fault> {
        let missing = |key| Fault::Tensor(TensorProblem::Missing { key });
        let datatype = self.datatype.ok_or_else(|| missing("datatype"))?;
        let shape = self.shape.take().ok_or_else(|| missing("shape"))?;
        let mut shared = std::mem::take(&mut self.shared);
        let label = || TensorLabel { name: Some(name.clone()), ..self.label() };
        match take_place(&mut shared, label).map_err(Fault::Whole)? {
            Some(place) => self.shared(datatype, shape, place).map_err(Fault::Tensor),
            None => Ok(Found::Here(self.tensor(scanner, name, (datatype, shape), binary)?)),
        }
    }

    fn shared(&self, datatype: DataType, shape: Shape, place: RegionPlace) -> Result<Found, TensorProblem> {
        let beside = |got| Err(TensorProblem::BesideSharedMemory { got });
        match (&self.data, self.binary_size) {
            (Data::Read(_) | Data::At(_), _) => beside("'data'"),
            (Data::None, Some(_)) => beside("'binary_data_size'"),
            (Data::None, None) => Ok(Found::Shared { datatype, shape, place }),
        }
    }

    /// The tensor, where it is in the request itself.
    fn tensor(
        &mut self,
        scanner: &mut Scanner<'_>,
        name: &Name,
        (datatype, shape): (DataType, Shape),
        binary: &mut Bytes,
    ) -> Result<Tensor, Fault> {
        match (std::mem::replace(&mut self.data, Data::None), self.binary_size) {
            (Data::None, None) => Err(Fault::Tensor(TensorProblem::NoData)),
            (Data::None, Some(claimed)) => {
                let available = binary.len();
                match usize::try_from(claimed) {
                    Ok(size) if size <= available => {
                        binary_tensor(datatype, shape, binary.split_to(size)).map_err(Fault::Tensor)
                    }
                    _ => Err(Fault::Tensor(TensorProblem::BinarySize { claimed, available })),
                }
            }
            (_, Some(_)) => Err(Fault::Tensor(TensorProblem::TwoForms)),
            (Data::Read(tensor), None) => Ok(tensor),
            (Data::At(start), None) => {
                let end = scanner.offset();
                scanner.rewind(start);
                let label = || TensorLabel { name: Some(name.clone()), ..self.label() };
                let tensor = data::read(scanner, datatype, shape, &label).map_err(Fault::Whole)?;
                scanner.rewind(end);
                Ok(tensor)
            }
        }
    }

    fn label(&self) -> TensorLabel {
        TensorLabel { side: self.side, index: self.index, name: self.name.clone() }
    }

    #[cold]
    fn problem(&self, problem: TensorProblem) -> Box<Problem> {
        self.label().problem(problem)
    }
}
