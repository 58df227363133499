use adulis_tensor::{DataType, Shape, Tensor};
use adulis_types::{Name, RegionPlace};
use bytes::Bytes;

use super::parameter;
use super::table::Table;
use super::writer::{Field, Writer};
use crate::error::Parsed;
use crate::generated::infer::DATA_TYPE;
use crate::generated::infer::tensor::{DATA, DATATYPE, NAME, PARAMETERS, SHAPE};
use crate::parameters::{of_place, take_place};
use crate::tensors::{binary_tensor, datatype_of};
use crate::{MAX_RANK, Side, TensorLabel, TensorProblem};

/// A tensor that was read, or where it lies.
pub(super) enum Found {
    Here(Tensor),
    Shared { datatype: DataType, shape: Shape, place: RegionPlace },
}

/// Reads one tensor. Its data is a slice of `body`, in which the table lies.
pub(super) fn read(table: &Table<'_>, (side, index): (Side, usize), body: &Bytes) -> Parsed<(Name, Found)> {
    let name = Name::from(table.text(NAME)?);
    let label = || TensorLabel { side, index, name: (!name.is_empty()).then(|| name.clone()) };
    let (what, limit) = parameter::LIST;
    let mut parameters = parameter::read_all(table.tables(PARAMETERS, what, limit)?)?;
    let place = take_place(&mut parameters, label)?;
    let parts = Parts {
        datatype: table.number(DATATYPE)?.map_or(0, |[value]| value),
        extents: table.longs(SHAPE)?,
        data: body.slice_ref(table.bytes(DATA)?),
    };
    let found = match name.is_empty() {
        true => Err(TensorProblem::Missing { key: "name" }),
        false => parts.into_tensor(place),
    };
    match found {
        Ok(found) => Ok((name, found)),
        Err(problem) => Err(label().problem(problem)),
    }
}

/// A tensor as the table has it.
struct Parts<'a> {
    datatype: u8,
    extents: &'a [[u8; 8]],
    data: Bytes,
}

impl Parts<'_> {
    fn into_tensor(self, place: Option<RegionPlace>) -> Result<Found, TensorProblem> {
        let (datatype, shape) = (self.datatype()?, self.shape()?);
        match place {
            None => Ok(Found::Here(binary_tensor(datatype, shape, self.data)?)),
            Some(place) if self.data.is_empty() => Ok(Found::Shared { datatype, shape, place }),
            Some(_) => Err(TensorProblem::BesideSharedMemory { got: "'data'" }),
        }
    }

    fn datatype(&self) -> Result<DataType, TensorProblem> {
        match DATA_TYPE.iter().find(|(_, value)| *value == self.datatype) {
            Some((_, 0)) => Err(TensorProblem::Missing { key: "datatype" }),
            Some((name, _)) => datatype_of(name),
            None => Err(TensorProblem::Datatype { got: self.datatype.to_string().into() }),
        }
    }

    fn shape(&self) -> Result<Shape, TensorProblem> {
        if self.extents.len() > MAX_RANK {
            return Err(TensorProblem::Rank { limit: MAX_RANK, got: self.extents.len() });
        }
        let extent = |(index, extent): (usize, &[u8; 8])| {
            let extent = u64::from_le_bytes(*extent);
            usize::try_from(extent)
                .map_err(|_| TensorProblem::Dimension { index, got: extent.to_string().into() })
        };
        self.extents.iter().enumerate().map(extent).collect()
    }
}

/// A tensor to be written.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: DataType,
    pub(super) shape: &'a Shape,
    /// Where in shared memory its data is, if it is there.
    pub(super) place: Option<&'a RegionPlace>,
    /// Its data, where it is not.
    pub(super) data: Bytes,
}

/// Writes one tensor.
pub(super) fn write(writer: &mut Writer, link: usize, source: Source<'_>) {
    let value = DATA_TYPE.iter().find(|(name, _)| *name == source.datatype.as_str());
    let datatype = value.map_or(0, |(_, value)| *value);
    let content = if source.place.is_some() { PARAMETERS } else { DATA };
    let links = writer.table(
        link,
        &[
            (NAME, Field::Link),
            (DATATYPE, Field::Byte(datatype)),
            (SHAPE, Field::Link),
            (content, Field::Link),
        ],
    );
    writer.text(links[0], source.name);
    writer.longs(links[1], source.shape);
    match source.place {
        Some(place) => parameter::write_all(writer, links[2], &of_place(place)),
        None => writer.data(links[2], source.data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_every_datatype_and_no_other() {
        let names: Vec<&str> = DATA_TYPE.iter().skip(1).map(|(name, _)| *name).collect();
        assert_eq!(names, DataType::ALL.map(DataType::as_str));
    }
}
