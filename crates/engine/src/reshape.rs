use adulis_backend::TensorSpec;
use adulis_repository::TensorConfig;
use adulis_tensor::{Shape, ShapePattern};
use smallvec::SmallVec;

/// The tensors of a model that clients see in another shape than it has itself (`reshape` in its configuration). Most models
/// have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reshapes {
    inputs: Vec<(usize, Reshape)>,
    outputs: Vec<(usize, Reshape)>,
    /// Whether both shapes have a batch dimension in front.
    batches: bool,
}

/// The two shapes of a tensor, without the batch dimension: as many elements, and the open extents in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reshape {
    client: Vec<i64>,
    model: Vec<i64>,
}

impl Reshapes {
    /// What is declared of a model whose own tensors these are. An extent that the model fixes is fixed for clients, too.
    pub(crate) fn new(
        (declared_inputs, inputs): (&[TensorConfig], &[TensorSpec]),
        (declared_outputs, outputs): (&[TensorConfig], &[TensorSpec]),
        batches: bool,
    ) -> Self {
        let of = |declared: &[TensorConfig], own: &[TensorSpec]| {
            let reshapes = declared.iter().filter_map(|tensor| {
                let index = own.iter().position(|spec| *spec.name == tensor.name)?;
                let wanted = tensor.reshape.as_ref()?;
                let row = own[index].shape.get(usize::from(batches)..)?;
                let mut extents =
                    wanted.iter().zip(row).filter(|(wanted, _)| **wanted < 0).map(|(_, own)| *own);
                let narrowed = |dim: &i64| if *dim < 0 { extents.next().unwrap_or(-1) } else { *dim };
                let client = tensor.dims.iter().map(narrowed).collect();
                Some((index, Reshape { client, model: row.to_vec() }))
            });
            reshapes.collect()
        };
        Self {
            inputs: of(declared_inputs, inputs),
            outputs: of(declared_outputs, outputs),
            batches,
        }
    }

    /// The same for a model that turned out to have no batch dimension.
    pub(crate) fn without_batching(mut self) -> Self {
        self.batches = false;
        self
    }

    /// The inputs as clients see them.
    pub(crate) fn seen_inputs(&self, own: Vec<TensorSpec>) -> Vec<TensorSpec> {
        self.seen(&self.inputs, own)
    }

    /// The outputs as clients see them.
    pub(crate) fn seen_outputs(&self, own: Vec<TensorSpec>) -> Vec<TensorSpec> {
        self.seen(&self.outputs, own)
    }

    fn seen(&self, reshapes: &[(usize, Reshape)], mut own: Vec<TensorSpec>) -> Vec<TensorSpec> {
        for (index, reshape) in reshapes {
            let row = ShapePattern::new(&reshape.client);
            own[*index].shape = if self.batches { row.prepend(-1) } else { row };
        }
        own
    }

    /// The shape that an input has for the model, where a client has it in this one.
    pub(crate) fn input(&self, index: usize, shape: Shape) -> Shape {
        let reshape = self.inputs().find(|(input, _)| *input == index);
        reshape.and_then(|(_, convert)| convert(&shape)).unwrap_or(shape)
    }

    /// The inputs that have another shape for the model, with that shape for one that a client sent.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = (usize, impl Fn(&Shape) -> Option<Shape> + '_)> {
        self.inputs.iter().map(move |(index, reshape)| {
            (*index, move |shape: &Shape| convert(shape, &reshape.client, &reshape.model, self.batches))
        })
    }

    /// The outputs that have another shape for clients, with that shape for one that the model gave.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (usize, impl Fn(&Shape) -> Option<Shape> + '_)> {
        self.outputs.iter().map(move |(index, reshape)| {
            (*index, move |shape: &Shape| convert(shape, &reshape.model, &reshape.client, self.batches))
        })
    }
}

/// A shape that is `from` as the same elements in the shape `to`; `None` if it is not `from`.
fn convert(shape: &[usize], from: &[i64], to: &[i64], batches: bool) -> Option<Shape> {
    let (rows, row) = shape.split_at_checked(usize::from(batches))?;
    if !ShapePattern::new(from).matches(row) {
        return None;
    }
    // Extents that are fixed on one side only, because the model fixes them, are the same on the other.
    let open = |dim: &i64| *dim < 0;
    let mut extents = row.iter().zip(from).filter(|(_, dim)| open(dim)).map(|(extent, _)| *extent);
    let mut converted: SmallVec<[usize; 4]> = rows.iter().copied().collect();
    for dim in to {
        converted.push(if open(dim) { extents.next()? } else { usize::try_from(*dim).ok()? });
    }
    Some(converted.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use adulis_tensor::DataType;

    use super::*;

    fn reshapes(dims: &[i64], model: &[i64], own: &[i64], batches: bool) -> Reshapes {
        let declared =
            TensorConfig { reshape: Some(model.to_vec()), ..TensorConfig::new("X", DataType::Fp32, dims) };
        let shape = ShapePattern::new(own);
        let spec = TensorSpec { name: "X".into(), datatype: DataType::Fp32, shape, optional: false };
        Reshapes::new((&[declared], &[spec]), (&[], &[]), batches)
    }

    fn shape_for_model(reshapes: &Reshapes, shape: &[usize]) -> Option<Vec<usize>> {
        let (_, convert) = reshapes.inputs().next().unwrap();
        convert(&Shape::new(shape)).map(|shape| shape.to_vec())
    }

    #[test]
    fn open_extents_keep_their_order() {
        let both = reshapes(&[2, -1, 3, -1], &[-1, 6, -1], &[-1, -1, 6, -1], true);
        // 2, then open, then 3, then open: the products before, between and behind must agree, which the repository checks.
        assert_eq!(shape_for_model(&both, &[9, 2, 5, 3, 7]), Some(vec![9, 5, 6, 7]));
        assert_eq!(shape_for_model(&both, &[9, 2, 5, 4, 7]), None);
        assert_eq!(shape_for_model(&both, &[2, 5, 3, 7]), None, "there must be rows");
        let scalar = reshapes(&[1], &[], &[-1], true);
        assert_eq!(shape_for_model(&scalar, &[4, 1]), Some(vec![4]));
        let whole = reshapes(&[1], &[], &[], false);
        assert_eq!(shape_for_model(&whole, &[1]), Some(vec![]));
    }

    #[test]
    fn an_extent_that_the_model_fixes_is_fixed_for_clients() {
        let fixed = reshapes(&[-1, 1], &[1, -1], &[-1, 1, 4], true);
        let own = TensorSpec {
            name: "X".into(),
            datatype: DataType::Fp32,
            shape: ShapePattern::new(&[-1, 1, 4]),
            optional: false,
        };
        assert_eq!(fixed.seen_inputs(vec![own])[0].shape.to_string(), "[-1,4,1]");
        assert_eq!(shape_for_model(&fixed, &[2, 4, 1]), Some(vec![2, 1, 4]));
        assert_eq!(shape_for_model(&fixed, &[2, 5, 1]), None);
    }
}
