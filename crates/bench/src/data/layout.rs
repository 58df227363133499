use std::str::FromStr;

use adulis_tensor::{DataType, Shape, ShapePattern};
use anyhow::{Context, bail, ensure};

/// One input as the model declares it, or the command line: `NAME:DATATYPE:DIM,DIM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its datatype.
    pub datatype: DataType,
    /// Its shape; -1 stands for any extent, a leading one for rows.
    pub shape: ShapePattern,
    /// Whether a request may leave it out.
    pub optional: bool,
}

impl FromStr for InputSpec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (rest, dimensions) = text
            .rsplit_once(':')
            .with_context(|| format!("`{text}`: expected NAME:DATATYPE:DIM,DIM"))?;
        let (name, datatype) = rest
            .rsplit_once(':')
            .with_context(|| format!("`{text}`: expected NAME:DATATYPE:DIM,DIM"))?;
        ensure!(!name.is_empty(), "`{text}`: the input has no name");
        Ok(Self {
            name: name.to_owned(),
            datatype: datatype.to_ascii_uppercase().parse().with_context(|| format!("`{text}`"))?,
            shape: ShapePattern::new(&dimensions_of(dimensions, -1)?),
            optional: false,
        })
    }
}

/// The extents of one input: `NAME:DIM,DIM`, all of them or those of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeOverride {
    /// The input.
    pub name: String,
    /// The extents.
    pub dimensions: Vec<usize>,
}

impl FromStr for ShapeOverride {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, dimensions) =
            text.rsplit_once(':').with_context(|| format!("`{text}`: expected NAME:DIM,DIM"))?;
        ensure!(!name.is_empty(), "`{text}`: the input has no name");
        let dimensions =
            dimensions_of(dimensions, 0)?.into_iter().map(usize::try_from).collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), dimensions })
    }
}

/// Numbers between commas, none below `least`; an empty text is rank 0.
fn dimensions_of(text: &str, least: i64) -> anyhow::Result<Vec<i64>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|part| match part.trim().parse::<i64>() {
            Ok(dimension) if dimension >= least => Ok(dimension),
            _ => bail!("`{part}` is no dimension"),
        })
        .collect()
}

/// One input with its shape decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(super) name: String,
    pub(super) datatype: DataType,
    pub(super) shape: Shape,
    /// Whether the leading dimension counts rows.
    pub(super) is_batched: bool,
    pub(super) optional: bool,
}

impl Layout {
    /// Elements of one row, or of all if there are no rows.
    pub(super) fn row_elements(&self) -> anyhow::Result<usize> {
        let shape = if self.is_batched { self.shape.with_rows(1) } else { self.shape.clone() };
        shape
            .elements()
            .with_context(|| format!("input `{}`: shape {shape} is too large", self.name))
    }
}

/// Decides every input's shape: a leading -1 becomes `batch`, other open dimensions come from `overrides`.
///
/// An override of the same rank is the whole shape; one that is a dimension shorter, where the model has a leading -1,
/// is the shape of one row.
pub(super) fn lay_out(
    inputs: &[InputSpec],
    overrides: &[ShapeOverride],
    batch: usize,
) -> anyhow::Result<Vec<Layout>> {
    for given in overrides {
        ensure!(
            inputs.iter().any(|input| input.name == given.name),
            "--shape names `{}`, which is no input of the model; its inputs are {}",
            given.name,
            names(inputs)
        );
    }
    inputs
        .iter()
        .map(|input| {
            let given = overrides.iter().rfind(|given| given.name == input.name);
            lay_out_one(input, given.map(|given| &given.dimensions[..]), batch)
        })
        .collect()
}

fn lay_out_one(input: &InputSpec, given: Option<&[usize]>, batch: usize) -> anyhow::Result<Layout> {
    let InputSpec { name, shape, .. } = input;
    let rows_first = shape.first() == Some(&-1);
    let (decided, is_batched) = match given {
        Some(given) if given.len() == shape.len() => (Shape::new(given), rows_first && given[0] == batch),
        Some(given) if rows_first && given.len() + 1 == shape.len() => {
            (std::iter::once(batch).chain(given.iter().copied()).collect(), true)
        }
        Some(given) => bail!("--shape gives input `{name}` rank {}, the model has {shape}", given.len()),
        None => {
            let open = shape.iter().skip(usize::from(rows_first)).any(|&extent| extent < 0);
            ensure!(
                !open,
                "input `{name}` has the shape {shape}: say what its open dimensions are with --shape {name}:{}",
                example(shape)
            );
            let decided = shape.fill(batch);
            (decided, rows_first)
        }
    };
    ensure!(shape.matches(&decided), "--shape gives input `{name}` {decided}, the model has {shape}");
    Ok(Layout {
        name: name.clone(),
        datatype: input.datatype,
        shape: decided,
        is_batched,
        optional: input.optional,
    })
}

fn names(inputs: &[InputSpec]) -> String {
    let names: Vec<_> = inputs.iter().map(|input| format!("`{}`", input.name)).collect();
    names.join(", ")
}

/// The shape with its open dimensions as names, without the rows.
fn example(shape: &ShapePattern) -> String {
    let rows = usize::from(shape.first() == Some(&-1));
    let parts: Vec<_> = shape
        .iter()
        .skip(rows)
        .map(|&extent| if extent < 0 { "N".to_owned() } else { extent.to_string() })
        .collect();
    parts.join(",")
}
