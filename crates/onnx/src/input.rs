use adulis_backend::{BackendError, BatchInput};
use adulis_tensor::{AlignedBuffer, DataType, Shape, elements_of};
use ort::sys;

use crate::api::OrtError;
use crate::environment::Environment;
use crate::value::Value;

/// What an instance keeps for one input between runs: its buffer, and the value over the last data.
#[derive(Debug, Default)]
pub(crate) struct InputSlot {
    buffer: AlignedBuffer,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    value: Value,
    /// Where the value's data is; 0 for strings, whose value holds a copy and is made anew.
    address: usize,
    shape: Shape,
}

impl InputSlot {
    /// Makes the slot's value that of `input`, and returns it with the range of memory that it points at.
    ///
    /// Copies nothing where the input is one aligned part; otherwise gathers the parts into the slot's buffer. The value
    /// is good until `input` goes or the slot is bound again.
    pub(crate) fn bind(
        &mut self,
        environment: &Environment,
        input: &BatchInput,
    ) -> Result<(*const sys::OrtValue, Range), BackendError> {
        let bound = if input.datatype == DataType::Bytes {
            self.bind_strings(input)
        } else {
            self.bind_data(environment, input)
        };
        bound.map_err(|error| BackendError::Execution { reason: format!("input {:?}: {error}", input.name) })
    }

    fn bind_data(
        &mut self,
        environment: &Environment,
        input: &BatchInput,
    ) -> Result<(*const sys::OrtValue, Range), OrtError> {
        let in_place =
            input.in_place().filter(|data| input.datatype != DataType::Bool || flags_are_clean(data));
        let data: &[u8] = if let Some(data) = in_place {
            data
        } else {
            self.buffer.gather(input.chunks());
            if input.datatype == DataType::Bool {
                // C++ knows only 0 and 1; what another value does there is undefined.
                self.buffer.iter_mut().for_each(|flag| *flag = u8::from(*flag != 0));
            }
            &self.buffer
        };
        let range = Range::of(data);
        let kept = match self.kept.take() {
            Some(kept) if kept.address == range.start && kept.shape == input.shape => kept,
            _ => Kept {
                value: Value::over(environment, data, input.datatype, &input.shape)?,
                address: range.start,
                shape: input.shape.clone(),
            },
        };
        let kept = self.kept.insert(kept);
        Ok((kept.value.as_ptr().cast_const(), range))
    }

    fn bind_strings(&mut self, input: &BatchInput) -> Result<(*const sys::OrtValue, Range), OrtError> {
        let value = Value::strings(&input.shape, input.chunks().flat_map(elements_of))?;
        let kept = self.kept.insert(Kept { value, address: 0, shape: Shape::default() });
        Ok((kept.value.as_ptr().cast_const(), Range::default()))
    }

    /// Gives back what a string input holds; its data was copied and is of no use to the next run.
    pub(crate) fn release_copies(&mut self) {
        if self.kept.as_ref().is_some_and(|kept| kept.address == 0) {
            self.kept = None;
        }
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Range {
    start: usize,
    end: usize,
}

impl Range {
    pub(crate) fn of(data: &[u8]) -> Self {
        let start = data.as_ptr().addr();
        Self { start, end: start + data.len() }
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

fn flags_are_clean(data: &[u8]) -> bool {
    data.iter().fold(0, |all, &flag| all | flag) <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_overlap_only_where_they_share_a_byte() {
        let range = |start, end| Range { start, end };
        assert!(range(0, 4).overlaps(range(3, 5)));
        assert!(!range(0, 4).overlaps(range(4, 5)));
        assert!(!range(2, 2).overlaps(range(3, 5)));
    }

    #[test]
    fn flags_beyond_one_are_seen() {
        assert!(flags_are_clean(&[0, 1, 1]));
        assert!(!flags_are_clean(&[0, 2]));
    }
}
