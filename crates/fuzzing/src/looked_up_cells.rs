use adulis_store::{append_cell, ids_of};
use adulis_tensor::{Shape, Tensor};

use crate::model::datatype;

/// Cells of rows in SQL and of hashes in Redis, which become an input: the first byte chooses its datatype, each line behind it
/// is a cell. Those that are taken are whole elements. As ids they are text, which as cells is the same input again.
#[must_use]
pub fn looked_up_cells(input: &[u8]) -> bool {
    let Some((kind, lines)) = input.split_first() else {
        return false;
    };
    let datatype = datatype(*kind);
    let cells: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    let mut data = Vec::new();
    for cell in &cells {
        let length = data.len();
        if append_cell(&mut data, datatype, cell).is_none() {
            assert_eq!(data.len(), length, "a part of what was refused is there");
            return false;
        }
    }
    let tensor = Tensor::new(datatype, Shape::new(&[cells.len()]), data.into());
    let tensor = tensor.expect("cells that are taken are whole elements");
    if let Ok(ids) = ids_of(&tensor) {
        let mut again = Vec::new();
        for id in &ids {
            append_cell(&mut again, datatype, id).expect("an id is a cell");
        }
        assert_eq!(again, tensor.data()[..]);
    }
    true
}
