use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use adulis_tensor::DataType;

use super::Check;
use crate::name::{datatype_names, is_plain_file_name, parse_datatype};
use crate::raw::RawTensor;
use crate::strict::near_miss;
use crate::{Labels, TensorConfig, TensorFormat};

/// Most dimensions of a declared tensor: beyond any engine's own limit.
const MAX_RANK: usize = 64;

impl Check<'_> {
    pub(super) fn inputs(&mut self, raw: &[RawTensor]) -> Vec<TensorConfig> {
        let tensors = self.tensors("input", raw);
        for (index, tensor) in raw.iter().enumerate() {
            if tensor.label_filename.is_some() {
                let key = format!("input[{index}].label_filename");
                self.faults.push(key, "only outputs have labels");
            }
        }
        tensors
    }

    pub(super) fn outputs(&mut self, raw: &[RawTensor]) -> Vec<TensorConfig> {
        let mut tensors = self.tensors("output", raw);
        for (index, (tensor, checked)) in raw.iter().zip(&mut tensors).enumerate() {
            if tensor.optional == Some(true) {
                let key = format!("output[{index}].optional");
                self.faults.push(key, "only inputs can be optional");
            }
            if tensor.format.is_some() {
                let key = format!("output[{index}].format");
                self.faults.push(key, "only inputs have a format");
            }
            if let Some(file) = &tensor.label_filename {
                checked.labels = self.labels(&format!("output[{index}].label_filename"), file).map(Arc::new);
            }
        }
        tensors
    }

    fn tensors(&mut self, side: &str, raw: &[RawTensor]) -> Vec<TensorConfig> {
        let mut names = BTreeSet::new();
        let mut tensors = Vec::with_capacity(raw.len());
        for (index, tensor) in raw.iter().enumerate() {
            let key = format!("{side}[{index}]");
            let name = tensor.name.clone().unwrap_or_default();
            if name.is_empty() {
                self.faults.push(format!("{key}.name"), "is missing");
            } else if !names.insert(name.clone()) {
                let message = format!("{name:?} is there twice");
                self.faults.push(format!("{key}.name"), message);
            }
            let datatype = self.datatype(&format!("{key}.data_type"), tensor.data_type.as_deref());
            self.dims(&format!("{key}.dims"), &tensor.dims, -1);
            tensors.push(TensorConfig {
                name,
                datatype,
                dims: tensor.dims.clone(),
                reshape: self.reshape(&key, tensor),
                format: self.format(&key, tensor.format.as_deref()),
                optional: tensor.optional.unwrap_or(false),
                label_filename: tensor.label_filename.clone(),
                labels: None,
            });
        }
        tensors
    }

    /// The model's own shape: as many elements as the one that requests have, whatever the open extents are.
    fn reshape(&mut self, key: &str, tensor: &RawTensor) -> Option<Vec<i64>> {
        let shape = &tensor.reshape.as_ref()?.shape;
        let key = format!("{key}.reshape");
        self.dims(&key, shape, -1);
        if extents(shape) != extents(&tensor.dims) {
            let message = format!("{shape:?} has another number of elements than dims = {:?}", tensor.dims);
            self.faults.push(key, message);
        }
        Some(shape.clone())
    }

    fn format(&mut self, key: &str, format: Option<&str>) -> TensorFormat {
        match format {
            None | Some("FORMAT_NONE") => TensorFormat::None,
            Some("FORMAT_NHWC" | "NHWC") => TensorFormat::Nhwc,
            Some("FORMAT_NCHW" | "NCHW") => TensorFormat::Nchw,
            Some(other) => {
                let message = format!("expected FORMAT_NONE, FORMAT_NHWC or FORMAT_NCHW, got {other:?}");
                self.faults.push(format!("{key}.format"), message);
                TensorFormat::None
            }
        }
    }

    /// A datatype by name; FP32 where that is at fault.
    pub(super) fn datatype(&mut self, key: &str, name: Option<&str>) -> DataType {
        let Some(name) = name else {
            self.faults.push_with_remedy(key, "is missing", "for example TYPE_FP32");
            return DataType::Fp32;
        };
        parse_datatype(name).unwrap_or_else(|| {
            let known = datatype_names();
            let message = format!("unknown datatype {name:?}: expected one of {}", known.join(", "));
            self.faults
                .push_with_hint(key, message, near_miss(name, known.iter().map(String::as_str)));
            DataType::Fp32
        })
    }

    /// Dimensions, none below `least`.
    pub(super) fn dims(&mut self, key: &str, dims: &[i64], least: i64) {
        if dims.len() > MAX_RANK {
            let message = format!("expected at most {MAX_RANK} dimensions, got {}", dims.len());
            self.faults.push(key, message);
            return;
        }
        for (index, dim) in dims.iter().enumerate() {
            if *dim < least {
                let message = format!("expected at least {least}, got {dim}");
                self.faults.push(format!("{key}[{index}]"), message);
            }
        }
    }

    fn labels(&mut self, key: &str, file: &str) -> Option<Labels> {
        if !is_plain_file_name(file) {
            let message = format!("{file:?} is not the name of a file in the model's folder");
            self.faults.push(key, message);
            return None;
        }
        let path = self.directory.join(file);
        if !path.is_file() {
            let message = format!("{file:?} is not there");
            self.faults.push_with_remedy(key, message, "put it into the model's folder");
            return None;
        }
        // What is in the file is told to clients.
        if !lies_beside(&path, self.directory) {
            let message = format!("{file:?} is a link that leads out of the repository");
            self.faults
                .push_with_remedy(key, message, "copy what it leads to into the model's folder");
            return None;
        }
        match Labels::read(&path) {
            Ok(labels) => Some(labels),
            Err(reason) => {
                self.faults.push(key, format!("{file:?} {reason}"));
                None
            }
        }
    }
}

/// Whether a file in a model's folder is, links followed, within the repository that the folder is in.
pub(super) fn lies_beside(file: &Path, folder: &Path) -> bool {
    let real = folder.canonicalize().ok();
    let real_parent = real.as_deref().and_then(Path::parent).map(Path::to_owned);
    let named_parent = folder.parent().and_then(|parent| parent.canonicalize().ok());
    // A model's folder at the root of the file system is in no repository.
    let parents = [real_parent, named_parent].into_iter().flatten();
    let mut within = parents.filter(|parent| parent.parent().is_some()).chain(real);
    let file = file.canonicalize();
    file.is_ok_and(|file| within.any(|folder| file.starts_with(folder)))
}

/// Elements before, between and behind the open extents, in order. `None` of a product stands for too many.
fn extents(dims: &[i64]) -> Vec<Option<i64>> {
    let parts = dims.split(|dim| *dim < 0);
    parts
        .map(|known| known.iter().try_fold(1_i64, |product, dim| product.checked_mul(*dim)))
        .collect()
}
