use super::{Check, MAX_BATCH_SIZE};
use crate::raw::{RawWarmup, RawWarmupInput};
use crate::{Warmup, WarmupData, WarmupInput};

/// Most runs of one warm-up request.
const MAX_RUNS: i64 = 1_000_000;
/// Most elements of data that the server makes: 4 GiB of FP32.
const MAX_ELEMENTS: i64 = 1 << 30;

impl Check<'_> {
    pub(super) fn warmups(&mut self, raw: &[RawWarmup], max_batch_size: Option<usize>) -> Vec<Warmup> {
        let warmups = raw.iter().enumerate();
        warmups
            .map(|(index, warmup)| self.warmup(&format!("model_warmup[{index}]"), warmup, max_batch_size))
            .collect()
    }

    fn warmup(&mut self, key: &str, raw: &RawWarmup, max_batch_size: Option<usize>) -> Warmup {
        let most = max_batch_size.and_then(|size| i64::try_from(size).ok());
        let size = raw.batch_size.unwrap_or(i64::from(most != Some(0)));
        let size_key = format!("{key}.batch_size");
        match most {
            Some(most) if size > most => {
                let message = format!("expected at most max_batch_size = {most}, got {size}");
                self.faults.push(size_key.clone(), message);
            }
            Some(most) if most > 0 && size == 0 => {
                self.faults.push(size_key.clone(), "expected at least 1: the model batches");
            }
            _ => {}
        }
        let count = raw.count.unwrap_or(1);
        let inputs = raw.inputs.iter();
        Warmup {
            name: raw.name.clone().unwrap_or_else(|| key.to_owned()),
            batch_size: self.whole(size_key, size, 0..=MAX_BATCH_SIZE).unwrap_or(0),
            count: self.whole(format!("{key}.count"), count, 1..=MAX_RUNS).unwrap_or(1),
            inputs: inputs
                .map(|(name, input)| self.warmup_input(&format!("{key}.inputs.{name}"), name, input))
                .collect(),
        }
    }

    fn warmup_input(&mut self, key: &str, name: &str, raw: &RawWarmupInput) -> WarmupInput {
        let dims_key = format!("{key}.dims");
        self.dims(&dims_key, &raw.dims, 0);
        self.elements(&dims_key, &raw.dims);
        WarmupInput {
            name: name.to_owned(),
            datatype: self.datatype(&format!("{key}.data_type"), raw.data_type.as_deref()),
            dims: raw.dims.clone(),
            data: self.warmup_data(key, raw),
        }
    }

    /// Bounds the size of data that is made from dimensions alone.
    pub(super) fn elements(&mut self, key: &str, dims: &[i64]) {
        let elements = dims.iter().try_fold(1_i64, |product, dim| product.checked_mul(*dim));
        if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
            let message = format!("expected at most {MAX_ELEMENTS} elements");
            self.faults.push(key, message);
        }
    }

    fn warmup_data(&mut self, key: &str, raw: &RawWarmupInput) -> WarmupData {
        let zero = raw.zero_data == Some(true);
        let random = raw.random_data == Some(true);
        if usize::from(zero) + usize::from(random) + usize::from(raw.input_data_file.is_some()) > 1 {
            let message = "expected one of zero_data, random_data and input_data_file";
            self.faults.push(key, message);
        }
        let Some(file) = &raw.input_data_file else {
            return if random { WarmupData::Random } else { WarmupData::Zero };
        };
        WarmupData::File(self.data_file(&format!("{key}.input_data_file"), "warmup", file))
    }
}
